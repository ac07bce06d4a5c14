//! The bank as a gRPC server.
//!
//! ```text
//! main -> config -> telemetry -> store -> ledger -> grpc -> server -> drain
//! ```
//!
//! | module | is | knows |
//! |---|---|---|
//! | [`config`] | what the operator asked for, checked as a whole before anything starts | the options of the others |
//! | [`store`] | which store it is | `config`, the backends |
//! | [`telemetry`] | where log lines go and how they look | `config` |
//! | [`audit_trail`] | who was denied, and who used administrative leave | nothing |
//! | [`auth`] | who calls, and what they may do | the domain |
//! | [`tls`] | certificates and keys of connections, kept up with their files | `telemetry` |
//! | [`ledger`] | the one place where commands take effect | the domain, the store, `auth`, `notifier` |
//! | [`notifier`] | which accounts were just written to, for those who watch them | the domain |
//! | [`audit`] | a walk through everything, and what is wrong with it | the domain, the store |
//! | [`backup`] | a bank as a file, and a file as a bank | the domain, the store |
//! | [`watch`] | histories as they happen | the domain, the store |
//! | [`grpc`] | the API: messages to commands, outcomes to messages | `ledger`, `audit`, `backup`, `watch`, the protocol |
//! | [`metrics`] | what is counted and measured | nothing of the others but their outcomes |
//! | [`admin`] | metrics, probes and the log level, over HTTP | `metrics`, `telemetry` |
//! | [`server`] | the socket, health, reflection, and an orderly end | `grpc`, the store's health |
//!
//! Nothing here knows a rule of the bank, and `ledger` knows nothing of gRPC.

pub mod admin;
pub mod admission;
pub mod audit;
pub mod audit_trail;
pub mod auth;
pub mod backup;
pub mod config;
mod files;
pub mod grpc;
pub mod ledger;
pub mod metrics;
mod movement;
pub mod network;
pub mod notifier;
mod progress;
pub mod server;
mod status;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod watch;
