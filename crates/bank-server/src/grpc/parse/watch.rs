//! What is to be watched, and from where.

use bank_domain::{AccountId, Owner};
use bank_proto::v1;

use super::{
    base::{Defaults, Parse},
    violations::Violations,
};
use crate::{
    status::RESUME_TOKEN,
    watch::{Start, Token},
};

/// A call that watches.
pub(in crate::grpc) struct WatchQuery {
    /// None for all that the caller may see.
    pub(in crate::grpc) account_id: Option<AccountId>,
    pub(in crate::grpc) owner: Option<Owner>,
    pub(in crate::grpc) start: Start,
}

impl Parse<v1::WatchTransactionsRequest> for WatchQuery {
    fn read(
        message: v1::WatchTransactionsRequest,
        _: &Defaults<'_>,
        violations: &mut Violations,
    ) -> Option<Self> {
        let account_id = violations.optional("account_id", &message.account_id);
        let owner = violations.optional("owner", &message.owner);
        if !message.account_id.is_empty() && !message.owner.is_empty() {
            violations.add("owner", "must be empty where account_id names an account");
        }
        let start = violations.choice("start", message.start, |start| match start {
            v1::WatchStart::Unspecified => None,
            v1::WatchStart::Now => Some(Start::Now),
            v1::WatchStart::Beginning => Some(Start::Beginning),
        });
        let token = match &*message.resume_token {
            "" => Some(None),
            token => violations.check(RESUME_TOKEN, Token::parse(token)).map(Some),
        };
        let start = start?.unwrap_or(Start::Now);
        Some(Self { account_id: account_id?, owner: owner?, start: token?.map_or(start, Start::After) })
    }
}
