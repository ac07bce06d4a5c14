//! A recorded workload, and the proof that a bank served it as one bank that does one thing at a time.
//!
//! [`Tellers`] move money between few accounts and read them, many at once, and a [`Recorder`] writes
//! down what each requested and received, and when. [`books::read`] reads all that the bank holds once
//! it is still. [`checker::check`] holds the two together.
//!
//! What a run does is a function of its seed; how its operations meet each other in time is not.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of this, and a test that cannot go on fails"
)]

pub mod books;
pub mod checker;
pub mod history;
mod plan;
mod tellers;

pub use self::{
    history::Recorder,
    tellers::{Tellers, open_accounts},
};
