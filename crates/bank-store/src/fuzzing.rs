//! Entry points for the targets in `fuzz/`; not part of the API.

pub use crate::{embedded::fuzzing as embedded, redis::fuzzing as redis};
