//! What the errors of redb and of the file system mean.

use std::io;

use redb::{CursorError, DatabaseError, StorageError, TableError, TransactionError};

use crate::StoreError;

macro_rules! convert {
    ($($error:ident)*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                storage_error(error)
            }
        })*
    };
}

convert!(CursorError StorageError TableError TransactionError);

/// An error of an open file before a commit: nothing was done.
pub(super) fn storage_error(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupt(damaged(&what)),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)) => StoreError::Corrupt(damaged(&error.to_string())),
        error => StoreError::Unavailable(format!("the file of the bank: {error}")),
    }
}

/// An error of the commit itself: it may have taken effect.
pub(super) fn unknown_outcome(error: impl Into<redb::Error>) -> StoreError {
    StoreError::OutcomeUnknown(format!("the file of the bank: {}", error.into()))
}

/// The message about a damaged file.
pub(super) fn damaged(what: &str) -> String {
    format!(
        "the file of the bank is damaged ({what}); stop the server, run bank-server --check-store to see how \
         far, and restore the bank from a backup"
    )
}

/// Why a file cannot be opened, and what to do.
pub(super) fn opening_error(file: &str, error: DatabaseError) -> StoreError {
    let misconfigured = |why: &str| StoreError::Misconfigured(format!("{file} {why}"));
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => misconfigured(
            "is open in another bank-server, and one file serves one server; stop that one, or choose another \
             file with store.embedded.path",
        ),
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            misconfigured(&format!("cannot be used by this version of the server: {error}"))
        }
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData => misconfigured(
                "is not a file of a bank, or its beginning is damaged; choose another with \
                 store.embedded.path, or restore the bank from a backup",
            ),
            io::ErrorKind::UnexpectedEof => StoreError::Corrupt(damaged("it is truncated")),
            _ => unusable(file, &error),
        },
        DatabaseError::Storage(error) => storage_error(error),
        error => StoreError::Unavailable(format!("{file} cannot be opened: {error}")),
    }
}

/// Why the file system does not let a file or directory be used.
pub(super) fn unusable(path: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => StoreError::Misconfigured(format!(
            "{path} cannot be used: {error}; let the server read and write there, or choose another place \
             with store.embedded.path"
        )),
        _ => StoreError::Unavailable(format!("{path} cannot be used: {error}")),
    }
}
