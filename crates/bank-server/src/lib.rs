//! The bank as a gRPC server.
//!
//! | module | contents |
//! |---|---|
//! | [`config`] | the configuration: defaults, file, environment and flags, validated before anything starts |
//! | [`server`] | the gRPC server: connections, health, reflection, shutdown |
//! | [`admin`] | metrics, probes and the log level, over HTTP |
//! | [`grpc`] | the API: messages to commands, outcomes to messages |
//! | `status` | the only place that makes an error status |
//! | [`ledger`] | the only place where commands take effect |
//! | [`audit`], [`watch`], [`backup`] | verification of all histories, subscriptions to new entries, export and import |
//! | [`notifier`] | wake-ups of watches for accounts that were just written to |
//! | `admission` | limits on what callers use at once |
//! | [`audit_trail`] | a record of denials and of administrative calls |
//! | [`auth`] | who calls, and what they may do |
//! | [`metrics`] | counters and histograms for Prometheus |
//! | [`telemetry`], [`tls`], [`network`], [`terminal`] | log and traces, certificates, addresses, command line output |
//!
//! ARCHITECTURE.md shows which module may use which. Nothing here knows a rule of the bank, and `ledger` knows nothing of
//! gRPC.

pub mod admin;
pub mod admission;
pub mod audit;
pub mod audit_trail;
pub mod auth;
pub mod backup;
pub mod config;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc;
pub mod ledger;
pub mod metrics;
mod movement;
pub mod network;
pub mod notifier;
mod progress;
mod scans;
pub mod server;
mod status;
pub mod store;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod watch;
