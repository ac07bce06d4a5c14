//! How a command fails: what is said, what to do next, and the exit code.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use bank_client::{Error, InvalidMoney, RequestId};
use bank_domain::visible;

use crate::{
    apply::{Problem, Problems, Unavailable},
    args::InvalidTime,
    text::Text,
};

/// The exit codes that are this tool's own; `--help` documents them.
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
    Unsound = 9,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Bank(#[from] Error),
    /// Of an import: the bank serves nobody where it was broken off.
    #[error(transparent)]
    Import(Error),
    /// In the session of `bank demo`, which has request ids of its own.
    #[error(transparent)]
    Demo(Error),
    #[error(transparent)]
    Amount(#[from] InvalidMoney),
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: Unusable },
    #[error(transparent)]
    Time(#[from] InvalidTime),
    /// Which of its values was meant?
    #[error("the label {0} is given more than once; an account has one value for each label")]
    LabelRepeated(String),
    #[error("{given} needs {missing}")]
    Incomplete { given: &'static str, missing: &'static str },
    /// No time is a good one for it.
    #[error("--batch {batch} is more than {setting} = {max} of the server ever lets through")]
    BatchTooLarge { batch: u64, setting: &'static str, max: u64 },
    #[error("the system has no random bytes for a key")]
    NoRandomness,
    /// The command has done what it was to do, and so many things are wrong with the bank.
    #[error("the audit has found {0} things that are wrong")]
    Findings(u64),
    #[error("{}: {}", path.display(), Listed(problems))]
    Lines { path: PathBuf, problems: Problems },
    /// `bank apply` needs request ids that stay the same.
    #[error("the run has no name, and line {line} has no request_id")]
    Unnamed { line: u64 },
    /// The results file of `bank apply` cannot be used. Nothing was sent.
    #[error("{} {reason}", path.display())]
    Results { path: PathBuf, reason: Unavailable },
    /// Lines of `bank apply` were rejected, are unknown, or were not attempted.
    #[error("{message}")]
    Apply { message: String, hint: String, exit: Exit, reason: &'static str },
    /// The results, or a part of them, could not be written.
    #[error("cannot write the results: {}", Lost(.0))]
    Output(io::Error),
    /// The command has stopped because its results cannot be written. The output says why.
    #[error("nobody takes the results")]
    NotTaken,
    #[error("cannot listen for Ctrl-C: {0}")]
    Interrupt(io::Error),
}

/// Why a file that the command line names does not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("has more than {bytes_max} bytes; divide it")]
    TooLarge { bytes_max: usize },
    #[error("cannot be written: {0}")]
    Unwritable(io::Error),
    #[error("is there already, and is left as it is")]
    Exists,
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    #[error("holds no Ed25519 private key in PEM form")]
    NoSigningKey,
    #[error("holds a secret of {bytes} bytes; it must have at least {bytes_min}")]
    ShortSecret { bytes: usize, bytes_min: usize },
}

/// Why results were not written.
struct Lost<'a>(&'a io::Error);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::BrokenPipe => f.write_str("whatever reads them has ended"),
            _ => self.0.fmt(f),
        }
    }
}

/// Malformed lines, one under the other.
struct Listed<'a>(&'a Problems);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problems { first, more } = self.0;
        f.write_str("nothing was sent, since it is malformed")?;
        for Problem { line, what } in first {
            write!(f, "\n  line {line}: {}", visible::line(what))?;
        }
        if *more > 0 {
            write!(f, "\n  and {more} more lines")?;
        }
        Ok(())
    }
}

impl Unusable {
    pub(crate) fn of(self, path: &Path) -> Failure {
        Failure::File { path: path.to_owned(), reason: self }
    }

    /// Whether it is the command line that is wrong, and not the disk, for one.
    fn is_misnamed(&self) -> bool {
        let (Self::Unreadable(error) | Self::Unwritable(error)) = self else { return true };
        matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput
        )
    }
}

impl Failure {
    /// What happened. What is wrong with lines of a file is told one under the other; nothing else brings lines of its
    /// own.
    pub(crate) fn text(&self) -> Text {
        match self {
            Self::Lines { .. } | Self::Apply { .. } => Text::lines(&self.to_string()),
            _ => Text::line(&self.to_string()),
        }
    }

    fn bank(&self) -> Option<&Error> {
        match self {
            Self::Bank(error) | Self::Demo(error) | Self::Import(error) => Some(error),
            Self::Amount(_)
            | Self::File { .. }
            | Self::Time(_)
            | Self::LabelRepeated(_)
            | Self::BatchTooLarge { .. }
            | Self::Incomplete { .. }
            | Self::NoRandomness
            | Self::Findings(_)
            | Self::Lines { .. }
            | Self::Unnamed { .. }
            | Self::Results { .. }
            | Self::Apply { .. }
            | Self::Output(_)
            | Self::NotTaken
            | Self::Interrupt(_) => None,
        }
    }

    /// Whether an import may have begun and did not come to an end.
    fn breaks_off_an_import(&self) -> bool {
        let Self::Import(error) = self else { return false };
        matches!(
            error,
            Error::ConnectionLost { .. }
                | Error::DeadlineExceeded { .. }
                | Error::Internal { .. }
                | Error::InvalidReply { .. }
                | Error::Unavailable { retry_after: Some(_), .. }
        )
    }

    pub(crate) fn exit(&self) -> Exit {
        let error = match self {
            Self::Import(_) if self.breaks_off_an_import() => return Exit::OutcomeUnknown,
            Self::Bank(error) | Self::Demo(error) | Self::Import(error) => error,
            Self::Amount(_) | Self::Lines { .. } => return Exit::Invalid,
            Self::Apply { exit, .. } => return *exit,
            Self::File { reason, .. } if !reason.is_misnamed() => return Exit::Failed,
            Self::File { .. }
            | Self::Time(_)
            | Self::LabelRepeated(_)
            | Self::BatchTooLarge { .. }
            | Self::Incomplete { .. }
            | Self::Unnamed { .. }
            | Self::Results { .. } => return Exit::Usage,
            Self::Findings(_) => return Exit::Unsound,
            Self::NoRandomness | Self::Output(_) | Self::NotTaken | Self::Interrupt(_) => {
                return Exit::Failed;
            }
        };
        match error {
            Error::AccountNotFound { .. }
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

    /// The stable name of the cause.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Bank(error) | Self::Demo(error) | Self::Import(error) => error.reason(),
            Self::Amount(_) => "INVALID_AMOUNT",
            Self::File { .. } => "FILE",
            Self::Time(_) => "INVALID_TIME",
            Self::LabelRepeated(_) => "LABEL_REPEATED",
            Self::BatchTooLarge { .. } => "BATCH_TOO_LARGE",
            Self::Incomplete { .. } => "INCOMPLETE",
            Self::NoRandomness => "NO_RANDOMNESS",
            Self::Findings(_) => "AUDIT_FINDINGS",
            Self::Lines { .. } => "MALFORMED_LINES",
            Self::Unnamed { .. } => "UNNAMED",
            Self::Results { .. } => "RESULTS_FILE",
            Self::Apply { reason, .. } => reason,
            Self::Output(_) | Self::NotTaken => "OUTPUT",
            Self::Interrupt(_) => "INTERRUPT",
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Apply { hint, .. } => return Some(hint.clone()),
            Self::Unnamed { .. } => {
                return Some(
                    "add --name, such as --name payroll-2026-05: the same for every try, another for other payments"
                        .to_owned(),
                );
            }
            Self::Results { reason: Unavailable::OfAnother { .. }, .. } => {
                return Some(
                    "nothing was sent; name another file with --results, or the right run with --name"
                        .to_owned(),
                );
            }
            Self::Results {
                reason: Unavailable::Io(_) | Unavailable::NotAFile | Unavailable::Unreadable(_),
                ..
            } => {
                return Some(
                    "nothing was sent; if the run has results already, restore that file: with a new one, lines \
                     can be applied twice; otherwise name another place with --results"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let error = self.bank()?;
        if self.breaks_off_an_import() {
            return Some(
                "import the file again: until then the bank serves nobody if this has begun".to_owned(),
            );
        }
        if error.outcome_unknown() {
            return Some(match (self, error.request_id()) {
                (Self::Bank(_), Some(id)) => {
                    format!("run the same command again with --request-id {id}: the change is made once")
                }
                _ => "run it again: it goes on where it broke off".to_owned(),
            });
        }
        if error.replayed() {
            return Some("this is the answer it got before; another --request-id asks anew".to_owned());
        }
        Some(match error {
            Error::Unavailable { retry_after: None, .. } => {
                "start a bank with `bank-server`, or name another with --server".to_owned()
            }
            Error::Unavailable { retry_after: Some(after), .. }
            | Error::Overloaded { retry_after: Some(after), .. } => format!("try again in {after:?}"),
            Error::Overloaded { .. } | Error::ConnectionLost { .. } => "try again".to_owned(),
            Error::DeadlineExceeded { .. } => "try again, or give it longer with --timeout".to_owned(),
            Error::AccountNotFound { account_id, .. } => {
                format!("`bank accounts` lists what there is, `bank create {account_id}` opens it")
            }
            Error::AccountDidNotExist { account_id, .. } => {
                format!("`bank show {account_id}` tells when it was opened, if it was")
            }
            Error::TransactionNotFound { .. } => "`bank history` lists the ids of an account".to_owned(),
            Error::AccountAlreadyExists { account_id, .. } => {
                format!("choose another id, or see it with `bank show {account_id}`")
            }
            Error::AccountFrozen { account_id, .. } => format!("`bank unfreeze {account_id}` ends that"),
            Error::CurrencyMismatch { .. } => {
                "money moves in the currency of the account, and both of a transfer have the same".to_owned()
            }
            Error::BalanceNotZero { account_id, .. } => {
                format!("bring it to zero with `bank transfer` or `bank withdraw {account_id}`")
            }
            Error::Unauthenticated { .. } => {
                "name the file of a token with --token-file; `bank token` issues one".to_owned()
            }
            Error::EntriesLost { account_id, .. } => {
                format!("see what is there with `bank history {account_id}`; --from-start begins anew")
            }
            Error::WatchTooLarge { .. } => "name an account, or an owner with --owner".to_owned(),
            Error::RequestIdReused { .. } => {
                "choose another --request-id, or leave it out to get a new one".to_owned()
            }
            Error::InvalidArgument { .. } => "see the command's --help".to_owned(),
            _ => return None,
        })
    }

    /// The request that it is about, if it names one.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.bank()?.request_id().map(RequestId::as_str)
    }

    /// Whether an earlier call with the same request id was refused so.
    pub(crate) fn replayed(&self) -> bool {
        self.bank().is_some_and(Error::replayed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: Error) -> (Exit, Option<String>) {
        let failure = Failure::Bank(error);
        (failure.exit(), failure.hint())
    }

    #[test]
    fn exit_codes_are_as_documented() {
        let account_id = || "9".parse().unwrap();
        let message = || "so".to_owned();
        for (error, exit) in [
            (Error::AccountFrozen { account_id: account_id(), replayed: false }, Exit::Rejected),
            (Error::AccountAlreadyExists { account_id: account_id(), replayed: true }, Exit::Rejected),
            (Error::AccountNotFound { account_id: account_id(), replayed: false }, Exit::NotFound),
            (Error::InvalidArgument { message: message(), violations: vec![] }, Exit::Invalid),
            (Error::Unavailable { message: message(), retry_after: None }, Exit::Unavailable),
            (Error::Overloaded { message: message(), retry_after: None }, Exit::Unavailable),
            (Error::DeadlineExceeded { request_id: None }, Exit::Unavailable),
            (Error::DeadlineExceeded { request_id: Some("r".parse().unwrap()) }, Exit::OutcomeUnknown),
            (Error::PermissionDenied { message: message() }, Exit::NotPermitted),
            (Error::Internal { message: message() }, Exit::Failed),
        ] {
            let text = error.to_string();
            assert_eq!(failed(error).0, exit, "{text}");
        }
    }

    #[test]
    fn an_unknown_outcome_says_how_to_learn_it() {
        let error = Error::OutcomeUnknown { request_id: "r-1".parse().unwrap(), message: "cut".into() };
        let (exit, hint) = failed(error);
        assert_eq!(exit, Exit::OutcomeUnknown);
        assert_eq!(
            hint.unwrap(),
            "run the same command again with --request-id r-1: the change is made once"
        );
    }
}
