//! Entry points for the targets in `fuzz/`; not part of the API.

pub use crate::{
    auth::authentication::fuzzing as authentication, grpc::fuzzing as requests, watch::fuzzing as watch,
};
