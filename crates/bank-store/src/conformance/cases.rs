//! The cases. Each takes an empty bank, and panics where the store does not keep its contract.
#![expect(missing_docs, reason = "the names of the cases say what they show")]

mod backups;
mod chains;
mod commits;
mod histories;
mod listings;
mod races;
mod readings;
mod requests;

pub use self::{
    backups::*, chains::*, commits::*, histories::*, listings::*, races::*, readings::*, requests::*,
};
