//! Real servers from outside: start, shutdown, configuration of TLS, logs, metrics, stores and deployment.

mod admin;
mod audit_trail;
mod backup;
mod cluster;
mod deploy;
mod durability;
mod embedded;
mod log;
mod shutdown;
mod startup;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod traces;
