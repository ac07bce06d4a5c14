//! What callers see, through real servers: methods, errors, authorization, limits, batches, streams and watches.
//!
//! One target, because each one links the whole server.

mod audit;
mod auth;
mod batches;
mod concurrency;
mod early_answers;
mod edge;
mod errors;
mod examples;
mod idempotency;
mod jwks_url;
mod limits;
mod methods;
mod ownership;
mod probing;
mod proxies;
mod shares;
mod slow_readers;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod watch;
