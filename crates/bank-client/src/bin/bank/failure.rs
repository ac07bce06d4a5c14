//! Failures of commands: the message, the exit code, and a hint on what to do next.
//!
//! A failure has one shape, whatever its cause. A module that can fail in a way of its own converts its error into it.

use std::{fmt, io, path::Path};

use bank_client::{Error, InvalidMoney, Rejection, RequestId};

use crate::text::Text;

/// The exit codes of the tool, except 0; `--help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Rejected = 3,
    NotFound = 4,
    Invalid = 5,
    Unavailable = 6,
    OutcomeUnknown = 7,
    NotPermitted = 8,
    AuditFindings = 9,
}

/// The reason of failures to write results.
pub(crate) const OUTPUT: &str = "OUTPUT";

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The stable name of the cause.
    pub(crate) reason: &'static str,
    /// What happened, on one line. It may contain text from files and servers that must be escaped.
    message: String,
    /// Further lines, one for each item that the failure is about.
    details: Vec<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// The request that the failure is about.
    pub(crate) request_id: Option<RequestId>,
    /// Whether the bank gave the same answer to an earlier call with this request id.
    pub(crate) replayed: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, reason, message, details: Vec::new(), hint: None, request_id: None, replayed: false }
    }

    /// An option that needs another one.
    pub(crate) fn incomplete(given: &str, missing: &str) -> Self {
        Self::new(Exit::Usage, "INCOMPLETE", format!("{given} needs {missing}"))
    }

    /// A batch that the server never accepts, because of this setting.
    pub(crate) fn batch_too_large(batch: u64, setting: &str, max: u64) -> Self {
        let message = format!("--batch {batch} exceeds {setting} = {max} of the server");
        Self::new(Exit::Usage, "BATCH_TOO_LARGE", message)
    }

    /// A file that cannot be used as the command line asks for.
    pub(crate) fn file(path: &Path, problem: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "FILE", format!("{}: {problem}", path.display()))
    }

    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self { exit: exit_of_io(error), ..Self::file(path, format_args!("cannot be read: {error}")) }
    }

    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::file(path, "already exists and is not overwritten"),
            _ => Self {
                exit: exit_of_io(error),
                ..Self::file(path, format_args!("cannot be written: {error}"))
            },
        }
    }

    /// Results that could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::BrokenPipe => {
                "cannot write the results: the reader has closed the pipe".to_owned()
            }
            _ => format!("cannot write the results: {error}"),
        };
        Self::new(Exit::Failed, OUTPUT, message)
    }

    /// An error during an import. A bank whose import has started serves nobody until an import completes.
    pub(crate) fn import(error: Error) -> Self {
        let is_interrupted = matches!(
            error,
            Error::ConnectionLost { .. }
                | Error::DeadlineExceeded { .. }
                | Error::Internal { .. }
                | Error::InvalidReply { .. }
                // From the bank. Without a delay the bank was not reached, so nothing has begun.
                | Error::Unavailable { retry_after: Some(_), .. }
        );
        let mut failure = Self::from(error);
        if is_interrupted {
            failure.exit = Exit::OutcomeUnknown;
            failure.hint = Some(
                "import the file again: if this import has started, the bank serves nobody until then".into(),
            );
        }
        failure
    }

    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub(crate) fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// The message and the details as lines that are safe to show on a terminal.
    pub(crate) fn text(&self) -> Text {
        let details = self.details.iter().map(|detail| Text::line(&format!("  {detail}")));
        Text::stack([Text::line(&self.message)].into_iter().chain(details))
    }
}

/// The unescaped message with its details, for JSON.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.details.iter().try_for_each(|detail| write!(f, "\n  {detail}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            hint: hint(&error),
            request_id: error.request_id().cloned(),
            replayed: error.replayed(),
            ..Self::new(exit(&error), error.reason(), error.to_string())
        }
    }
}

impl From<InvalidMoney> for Failure {
    fn from(error: InvalidMoney) -> Self {
        Self::new(Exit::Invalid, "INVALID_AMOUNT", error.to_string())
    }
}

/// A wrong path is a usage error; a failing disk is not.
fn exit_of_io(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => Exit::Usage,
        _ => Exit::Failed,
    }
}

pub(crate) fn exit(error: &Error) -> Exit {
    match error {
        Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }
        | Error::AccountDidNotExist { .. }
        | Error::TransactionNotFound { .. } => Exit::NotFound,
        Error::InvalidArgument { .. } | Error::BackupDamaged { .. } | Error::RequestTooLarge { .. } => {
            Exit::Invalid
        }
        Error::InvalidSetting { .. } => Exit::Usage,
        error if error.outcome_unknown() => Exit::OutcomeUnknown,
        Error::Unavailable { .. }
        | Error::Overloaded { .. }
        | Error::ConnectionLost { .. }
        | Error::DeadlineExceeded { .. } => Exit::Unavailable,
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } | Error::Token(_) => {
            Exit::NotPermitted
        }
        error if error.is_rejection() => Exit::Rejected,
        _ => Exit::Failed,
    }
}

fn hint(error: &Error) -> Option<String> {
    if error.outcome_unknown() {
        let id = error.request_id()?;
        return Some(format!("run the same command again with --request-id {id}: the change is made once"));
    }
    if error.replayed() {
        return Some(
            "this is the answer to an earlier request with this id; use another --request-id to try again"
                .into(),
        );
    }
    Some(match error {
        Error::Unavailable { retry_after: None, .. } => {
            "start a bank with `bank-server`, or name another with --server".to_owned()
        }
        Error::Unavailable { retry_after: Some(after), .. }
        | Error::Overloaded { retry_after: Some(after), .. } => format!("try again in {after:?}"),
        Error::Overloaded { .. } | Error::ConnectionLost { .. } => "try again".to_owned(),
        Error::DeadlineExceeded { .. } => "try again, or allow more time with --timeout".to_owned(),
        Error::AccountDidNotExist { account_id, .. } => {
            format!("`bank show {account_id}` shows when it was opened")
        }
        Error::TransactionNotFound { .. } => "`bank history` lists the transactions of an account".to_owned(),
        Error::Rejected { rejection, .. } => return rejection_hint(rejection),
        Error::Unauthenticated { .. } => "pass a token with --token-file; `bank token` issues one".to_owned(),
        Error::EntriesLost { account_id, .. } => {
            format!("see what remains with `bank history {account_id}`; --from-start starts over")
        }
        Error::WatchTooLarge { .. } => "name an account, or an owner with --owner".to_owned(),
        Error::RequestIdReused { .. } => {
            "choose another --request-id, or omit it to get a new one".to_owned()
        }
        Error::InvalidArgument { .. } => "see the command's --help".to_owned(),
        _ => return None,
    })
}

fn rejection_hint(rejection: &Rejection) -> Option<String> {
    Some(match rejection {
        Rejection::AccountNotFound { account_id } => {
            format!("list accounts with `bank accounts`, or open this one with `bank create {account_id}`")
        }
        Rejection::AccountAlreadyExists { account_id } => {
            format!("choose another id, or see the account with `bank show {account_id}`")
        }
        Rejection::AccountFrozen { account_id } => format!("unfreeze it with `bank unfreeze {account_id}`"),
        Rejection::CurrencyMismatch { .. } => {
            "use the currency of the account; both accounts of a transfer must have the same currency"
                .to_owned()
        }
        Rejection::BalanceNotZero { account_id, .. } => {
            format!("bring it to zero with `bank transfer` or `bank withdraw {account_id}`")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
