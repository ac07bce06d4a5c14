//! What names an account in a call.

use bank_domain::AccountId;

/// What names an account in a call: an [`AccountId`], or text that the bank will check.
///
/// ```
/// use bank_client::{AccountId, AccountName};
///
/// fn takes(name: impl AccountName) {}
///
/// let id: AccountId = "alice".parse()?;
/// takes(&id);
/// takes("alice");
/// takes(String::from("alice"));
/// # Ok::<(), bank_client::InvalidId>(())
/// ```
pub trait AccountName {
    /// The name as text.
    fn into_text(self) -> String;
}

impl AccountName for &str {
    fn into_text(self) -> String {
        self.to_owned()
    }
}

impl AccountName for String {
    fn into_text(self) -> String {
        self
    }
}

impl AccountName for &String {
    fn into_text(self) -> String {
        self.clone()
    }
}

impl AccountName for AccountId {
    fn into_text(self) -> String {
        self.into()
    }
}

impl AccountName for &AccountId {
    fn into_text(self) -> String {
        self.as_str().to_owned()
    }
}
