//! What a server says of itself.

use std::time::Duration;

use bank_domain::Timestamp;
use bank_proto::v1;

use crate::{
    DurabilityLevel,
    choice::Choice as _,
    wire::{FromWire, Malformed, count, count_if_any, optional, required},
};

/// What a server is and what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version: `0.1.0`.
    pub version: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// For how long it has been running.
    pub uptime: Duration,
    /// Where it keeps accounts.
    pub store: StoreInfo,
    /// What it is bounded by.
    pub limits: ServerLimits,
    /// What it has acknowledged and then found gone.
    pub lost_writes: LostWrites,
}

/// Where a server keeps accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// `embedded`, `memory`, `redis`.
    pub kind: String,
    /// What and where it is: `redis at 127.0.0.1:6379`.
    pub name: String,
    /// Tells this bank from any other.
    pub bank_id: String,
    /// What a change that is acknowledged survives.
    pub durability: Durability,
    /// Why it takes no changes now, if it does not.
    pub problem: Option<String>,
}

/// What a change that is acknowledged survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// How firmly it is kept.
    pub level: DurabilityLevel,
    /// How many replicas have it in memory as well.
    pub replicas: u64,
    /// The same in words, with what it does not survive.
    pub description: String,
}

/// What a server is bounded by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The largest request, in bytes.
    pub message_bytes_max: u64,
    /// The largest reply, in bytes.
    pub reply_bytes_max: u64,
    /// The largest set of headers, in bytes.
    pub header_bytes_max: u64,
    /// How many calls one connection may have in flight.
    pub concurrent_streams_max: u64,
    /// How many items a page has unless the caller says.
    pub page_size_default: u64,
    /// How many items a page has at most.
    pub page_size_max: u64,
    /// How many changes may wait.
    pub queue_commands_max: u64,
    /// How many changes share one commit at most.
    pub batch_commands_max: u64,
    /// The longest that a call may take.
    pub request_timeout_max: Duration,
    /// How long an unknown outcome is looked for before the caller is told.
    pub outcome_timeout: Duration,
    /// How long a request id is remembered, at least.
    pub request_retention: Duration,
    /// How many operations a batch may have.
    pub batch_operations_max: u64,
    /// The largest request with a batch, in bytes.
    pub batch_bytes_max: u64,
    /// How many batches of one stream are in work at once.
    pub stream_batches_max: u64,
    /// How many calls one caller may make in a second, in the long run, where an operation of a batch is one; none if
    /// the server does not say.
    pub calls_per_second_max: Option<u64>,
    /// How many calls one caller may make at once, after a pause; none if the server does not say.
    pub calls_burst_max: Option<u64>,
    /// How many calls of one caller may be in flight; none if the server does not say.
    pub calls_in_flight_max: Option<u64>,
    /// How many batches of one caller may be in work at once; none if the server does not say.
    pub concurrent_batches_max: Option<u64>,
    /// The most that one movement, or an overdraft limit, may be of, in minor units; none if the server does not say.
    pub amount_minor_units_max: Option<u64>,
}

/// What a server has acknowledged since it started and then found gone, because its store went back
/// to an earlier state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostWrites {
    /// How many accounts lack something.
    pub accounts: u64,
    /// How many entries they lack, at least.
    pub entries_min: u64,
    /// When the last of them was found; none if there is none.
    pub found_at: Option<Timestamp>,
}

impl FromWire<v1::GetServerInfoResponse> for ServerInfo {
    fn from_wire(wire: v1::GetServerInfoResponse) -> Result<Self, Malformed> {
        Ok(Self {
            version: wire.version,
            started_at: required("start_time", wire.start_time)?,
            uptime: required("uptime", wire.uptime)?,
            store: required("store", wire.store)?,
            limits: required("limits", wire.limits)?,
            lost_writes: required("lost_writes", wire.lost_writes)?,
        })
    }
}

impl FromWire<v1::StoreInfo> for StoreInfo {
    fn from_wire(wire: v1::StoreInfo) -> Result<Self, Malformed> {
        Ok(Self {
            kind: wire.kind,
            name: wire.name,
            bank_id: wire.bank_id,
            durability: required("durability", wire.durability)?,
            problem: Some(wire.problem).filter(|problem| !problem.is_empty()),
        })
    }
}

impl FromWire<v1::Durability> for Durability {
    fn from_wire(wire: v1::Durability) -> Result<Self, Malformed> {
        Ok(Self {
            level: DurabilityLevel::from_wire(wire.level),
            replicas: count("replicas", wire.replicas.into())?,
            description: wire.description,
        })
    }
}

impl FromWire<v1::ServerLimits> for ServerLimits {
    fn from_wire(wire: v1::ServerLimits) -> Result<Self, Malformed> {
        Ok(Self {
            message_bytes_max: count("message_bytes_max", wire.message_bytes_max)?,
            reply_bytes_max: count("reply_bytes_max", wire.reply_bytes_max)?,
            header_bytes_max: count("header_bytes_max", wire.header_bytes_max)?,
            concurrent_streams_max: count("concurrent_streams_max", wire.concurrent_streams_max.into())?,
            page_size_default: count("page_size_default", wire.page_size_default.into())?,
            page_size_max: count("page_size_max", wire.page_size_max.into())?,
            queue_commands_max: count("queue_commands_max", wire.queue_commands_max.into())?,
            batch_commands_max: count("batch_commands_max", wire.batch_commands_max.into())?,
            request_timeout_max: required("request_timeout_max", wire.request_timeout_max)?,
            outcome_timeout: required("outcome_timeout", wire.outcome_timeout)?,
            request_retention: required("request_retention", wire.request_retention)?,
            batch_operations_max: count("batch_operations_max", wire.batch_operations_max.into())?,
            batch_bytes_max: count("batch_bytes_max", wire.batch_bytes_max)?,
            stream_batches_max: count("stream_batches_max", wire.stream_batches_max.into())?,
            calls_per_second_max: count_if_any("calls_per_second_max", wire.calls_per_second_max.into())?,
            calls_burst_max: count_if_any("calls_burst_max", wire.calls_burst_max.into())?,
            calls_in_flight_max: count_if_any("calls_in_flight_max", wire.calls_in_flight_max.into())?,
            concurrent_batches_max: count_if_any(
                "concurrent_batches_max",
                wire.concurrent_batches_max.into(),
            )?,
            amount_minor_units_max: count_if_any("amount_minor_units_max", wire.amount_minor_units_max)?,
        })
    }
}

impl FromWire<v1::LostWrites> for LostWrites {
    fn from_wire(wire: v1::LostWrites) -> Result<Self, Malformed> {
        Ok(Self {
            accounts: count("accounts", wire.accounts)?,
            entries_min: count("entries_min", wire.entries_min)?,
            found_at: optional(wire.found_time)?,
        })
    }
}

impl FromWire<prost_types::Duration> for Duration {
    fn from_wire(wire: prost_types::Duration) -> Result<Self, Malformed> {
        wire.try_into().map_err(|error| Malformed(format!("a duration is out of range: {error}")))
    }
}
