//! Puts a status together: code, reason, message, metadata and details.

use std::{collections::HashMap, time::Duration};

use bank_domain::AccountId;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt as _};

const DOMAIN: &str = "bank.v1";

/// A status under construction.
pub(super) struct StatusBuilder {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    headers: MetadataMap,
}

pub(super) fn new(code: Code, reason: &'static str, message: impl ToString) -> StatusBuilder {
    StatusBuilder {
        code,
        reason,
        message: message.to_string(),
        metadata: HashMap::new(),
        details: ErrorDetails::new(),
        headers: MetadataMap::new(),
    }
}

impl StatusBuilder {
    pub(super) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// The error is about this account: as the resource, or as the subject of the precondition.
    pub(super) fn account(self, account_id: &AccountId) -> Self {
        let status = self.with("account_id", account_id);
        match status.code {
            Code::NotFound | Code::AlreadyExists => status.resource("Account", account_id),
            Code::FailedPrecondition => status.precondition(&format!("accounts/{account_id}")),
            _ => status,
        }
    }

    pub(super) fn resource(mut self, kind: &str, name: impl ToString) -> Self {
        let name = name.to_string();
        self.details.set_resource_info(format!("{DOMAIN}.{kind}"), name, "", self.message.clone());
        self
    }

    pub(super) fn precondition(mut self, subject: &str) -> Self {
        self.details.add_precondition_failure_violation(self.reason, subject, self.message.clone());
        self
    }

    pub(super) fn bad_field(mut self, field: impl Into<String>) -> Self {
        self.details.add_bad_request_violation(field, self.message.clone());
        self
    }

    pub(super) fn limit(mut self, setting: &str) -> Self {
        self.details.add_quota_failure_violation(setting, self.message.clone());
        self
    }

    pub(super) fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, MetadataValue::from_static(value));
        self
    }

    pub(super) fn bad_request(mut self, violations: Vec<tonic_types::FieldViolation>) -> Self {
        self.details.set_bad_request(violations);
        self
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes a status")]
    pub(super) fn build(mut self) -> Status {
        self.details.set_error_info(self.reason, DOMAIN, self.metadata);
        Status::with_error_details_and_metadata(self.code, self.message, self.details, self.headers)
    }
}
