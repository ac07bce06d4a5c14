//! What can be wrong with a configuration.

use std::{io, path::PathBuf};

use bank_domain::redacted;

use super::origin::Origin;

/// Why there is no configuration. No message has a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", redacted(&path.to_string_lossy()))]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where the error is.
        origin: Origin,
        /// The error, without any value of the file.
        message: String,
    },
    /// Settings are unknown, have wrong values, or contradict each other.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}
