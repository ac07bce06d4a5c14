//! What is fixed when a bank is initialized, and whether it suits the settings of this server.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    Secret, StoreError,
    placement::{Placement, PlacementRule},
};

/// The maximum number of windows of request records, since every commit looks at each.
const WINDOWS_MAX: u64 = 31;

/// The fixed properties of a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) bank_id: String,
    /// Drawn at the first start, if a version without secrets has initialized the bank.
    pub(crate) secret: Secret,
    pub(crate) placement: Placement,
    pub(crate) retention: Retention,
}

/// How long request records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// As this server is set.
    pub(crate) seconds: u64,
    /// The length of a window of records: the retention time when the bank was initialized.
    pub(crate) window_seconds: u64,
}

impl Identity {
    /// A new bank.
    pub(crate) fn try_new(partitions: u32, retention: Duration) -> Result<Self, StoreError> {
        // Rounded up.
        let seconds = (retention.as_secs() + u64::from(retention.subsec_nanos() > 0)).max(1);
        Ok(Self {
            bank_id: Uuid::new_v4().to_string(),
            secret: Secret::draw(),
            placement: Placement::try_new(partitions)?,
            retention: Retention { seconds, window_seconds: seconds },
        })
    }

    /// The stored fields.
    pub(crate) fn fields(&self, layout: &str) -> [(&'static str, String); 5] {
        [
            ("bank_id", self.bank_id.clone()),
            ("secret", self.secret.to_hex()),
            ("layout", layout.to_owned()),
            ("partitions", self.placement.partitions().to_string()),
            ("request_window_seconds", self.retention.window_seconds.to_string()),
        ]
    }

    /// Reads the stored fields of the bank in `place`, on a server that would initialize `new`. Each layout that can be read
    /// has a rule of placement.
    pub(crate) fn read(
        place: &str,
        layouts: &[(&str, PlacementRule)],
        new: &Self,
        field: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StoreError> {
        let found = field("layout").unwrap_or_default();
        let Some((_, rule)) = layouts.iter().find(|(layout, _)| *layout == found) else {
            let layouts: Vec<_> = layouts.iter().map(|(layout, _)| format!("{layout:?}")).collect();
            return Err(StoreError::Misconfigured(format!(
                "the bank in {place} has layout {found:?}, but this server needs {}; use the version of the server that \
                 wrote it",
                layouts.join(" or "),
            )));
        };
        let malformed = |name: &str| {
            StoreError::Corrupt(format!("the bank in {place}: field {name:?} is missing or malformed"))
        };
        let number = |name: &str| {
            let number = field(name).and_then(|text| text.parse::<u64>().ok()).filter(|number| *number > 0);
            number.ok_or_else(|| malformed(name))
        };
        let secret = match field("secret") {
            Some(text) => Secret::from_hex(&text).ok_or_else(|| malformed("secret"))?,
            None => new.secret.clone(),
        };
        let partitions = u32::try_from(number("partitions")?).ok();
        let placement = partitions.and_then(|count| Placement::try_new(count).ok());
        let placement = placement.ok_or_else(|| malformed("partitions"))?.with_rule(*rule);
        let window_seconds = number("request_window_seconds")?;
        let bank_id = field("bank_id").ok_or_else(|| malformed("bank_id"))?;
        let retention = Retention { window_seconds, ..new.retention };
        Ok(Self { bank_id, secret, placement, retention })
    }

    /// Checks that the settings of this server suit the bank in `place`.
    pub(crate) fn require_suitable(&self, place: &str) -> Result<(), StoreError> {
        let Retention { seconds, window_seconds } = self.retention;
        if seconds / window_seconds <= WINDOWS_MAX {
            return Ok(());
        }
        Err(StoreError::Misconfigured(format!(
            "the bank in {place} keeps request records in windows of {window_seconds} s, and every commit looks at each; \
             ledger.request_retention_seconds = {seconds}, but can be {} at most",
            window_seconds * WINDOWS_MAX,
        )))
    }
}
