//! What can be wrong with a configuration.

use std::{fmt, io, path::PathBuf};

use bank_domain::redacted;

use super::Origin;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", redacted(&path.to_string_lossy()))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML. The message quotes none of its values: they may be secret.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong there.
        message: String,
    },
    /// Keys or values are wrong; all that are.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such key.
    #[error("{} ({origin}): there is no such key{}", redacted(.key), hint(*.meant))]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        origin: Origin,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// A section stands where a value is expected.
    #[error("{} ({origin}): this is a section, not a key; `bank-server --print-config` lists its keys", redacted(.key))]
    Section {
        /// As it was written.
        key: String,
        /// Where.
        origin: Origin,
    },
    /// The value is of the wrong type or out of bounds.
    #[error("{key} = {found} ({origin}): must be {allowed}")]
    WrongValue {
        /// Which key.
        key: &'static str,
        /// As it was written, unless it is secret.
        found: String,
        /// Where.
        origin: Origin,
        /// What would be right.
        allowed: String,
    },
    /// `--set` without an equals sign.
    #[error("--set {}: write --set section.key=value", redacted(.0))]
    NotAnAssignment(String),
    /// Values that are right, but not together.
    #[error("{}", redacted(.0))]
    Contradiction(String),
    /// What the checks above should have found.
    #[error("{0}")]
    Other(String),
}

fn hint(meant: Option<&str>) -> String {
    meant.map_or_else(
        || "; `bank-server --print-config` lists all".to_owned(),
        |key| format!("; did you mean {key}?"),
    )
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
