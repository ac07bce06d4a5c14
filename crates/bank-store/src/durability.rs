//! What an acknowledged write survives.

use std::fmt;

/// How firmly a write is kept before it is acknowledged, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DurabilityLevel {
    /// Not on any disk: a restart of the store may lose it.
    None,
    /// On its way to the disk: a crash of the machine loses up to the last two seconds.
    EverySecond,
    /// On the disk.
    Always,
}

impl DurabilityLevel {
    /// As it is spelled in settings.
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

/// What a store promises of each write that it acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// How firmly it is kept where it was made.
    pub level: DurabilityLevel,
    /// How many replicas have it as well, in their memory.
    pub replicas: u32,
    /// The same in words, with what it does not survive.
    pub words: String,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
