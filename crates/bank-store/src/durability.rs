//! What an acknowledged write survives.

use std::fmt;

use serde::Deserialize;

/// What a store waits for before it acknowledges a write, from the weakest to the strongest level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityLevel {
    /// Nothing: a restart of the store may lose the write.
    None,
    /// The disk gets the write within a second: a crash of the machine loses up to the last two seconds.
    #[serde(rename = "everysec")]
    EverySecond,
    /// The write is on the disk.
    Always,
}

impl DurabilityLevel {
    /// The value in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EverySecond => "everysec",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for DurabilityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a store guarantees for every acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// The level on the primary.
    pub level: DurabilityLevel,
    /// The number of replicas that have the write in memory.
    pub replicas: u32,
    /// The guarantee in words, with its limits.
    pub description: String,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}
