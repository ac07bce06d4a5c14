//! Cases that are functions.
#![expect(missing_docs, reason = "the names say what the cases show")]

mod backups;
mod commits;
mod histories;
mod listings;
mod races;
mod readings;

pub use self::{backups::*, commits::*, histories::*, listings::*, races::*, readings::*};
