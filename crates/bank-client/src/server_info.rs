//! What a server says of itself.

use std::time::Duration;

use bank_domain::Timestamp;

use crate::{choice::DurabilityLevel, wire::from_wire};

from_wire! {
    /// What a server is and what it promises.
    pub struct ServerInfo from GetServerInfoResponse {
        /// Its version: `0.1.0`.
        version: String = plain(version),
        /// When it was started.
        started_at: Timestamp = required(start_time),
        /// For how long it has been running.
        uptime: Duration = required(uptime) => "uptime_seconds" as_secs,
        /// Where it keeps accounts.
        store: StoreInfo = required(store),
        /// What it is bounded by.
        limits: ServerLimits = required(limits),
        /// What it has acknowledged and then found gone.
        lost_writes: LostWrites = required(lost_writes),
    }

    /// Where a server keeps accounts.
    pub struct StoreInfo from StoreInfo {
        /// `embedded`, `memory`, `redis`.
        kind: String = plain(kind),
        /// What and where it is: `redis at 127.0.0.1:6379`.
        name: String = plain(name),
        /// Tells this bank from any other.
        bank_id: String = plain(bank_id),
        /// What a change that is acknowledged survives.
        durability: Durability = required(durability),
        /// Why it takes no changes now, if it does not.
        problem: Option<String> = text_if_any(problem),
    }

    /// What a change that is acknowledged survives.
    pub struct Durability from Durability {
        /// How firmly it is kept.
        level: DurabilityLevel = choice(level),
        /// How many replicas have it in memory as well.
        replicas: u64 = count(replicas),
        /// The same in words, with what it does not survive.
        description: String = plain(description),
    }

    /// What a server is bounded by.
    pub struct ServerLimits from ServerLimits {
        /// The largest request, in bytes.
        message_bytes_max: u64 = count(message_bytes_max),
        /// The largest reply, in bytes.
        reply_bytes_max: u64 = count(reply_bytes_max),
        /// The largest set of headers, in bytes.
        header_bytes_max: u64 = count(header_bytes_max),
        /// How many calls one connection may have in flight.
        concurrent_streams_max: u64 = count(concurrent_streams_max),
        /// How many items a page has unless the caller says.
        page_size_default: u64 = count(page_size_default),
        /// How many items a page has at most.
        page_size_max: u64 = count(page_size_max),
        /// How many changes may wait.
        queue_commands_max: u64 = count(queue_commands_max),
        /// How many changes share one commit at most.
        batch_commands_max: u64 = count(batch_commands_max),
        /// The longest that a call may take.
        request_timeout_max: Duration = required(request_timeout_max) => "request_timeout_max_ms" as_millis,
        /// How long an unknown outcome is looked for before the caller is told.
        outcome_timeout: Duration = required(outcome_timeout) => "outcome_timeout_ms" as_millis,
        /// How long a request id is remembered, at least.
        request_retention: Duration = required(request_retention) => "request_retention_seconds" as_secs,
        /// How many operations a batch may have.
        batch_operations_max: u64 = count(batch_operations_max),
        /// The largest request with a batch, in bytes.
        batch_bytes_max: u64 = count(batch_bytes_max),
        /// How many batches of one stream are in progress at once.
        stream_batches_max: u64 = count(stream_batches_max),
        /// How many calls one caller may make in a second, in the long run, where an operation of a batch is one; none if
        /// the server does not say.
        calls_per_second_max: Option<u64> = count_if_any(calls_per_second_max),
        /// How many calls one caller may make at once, after a pause; none if the server does not say.
        calls_burst_max: Option<u64> = count_if_any(calls_burst_max),
        /// How many calls of one caller may be in flight; none if the server does not say.
        calls_in_flight_max: Option<u64> = count_if_any(calls_in_flight_max),
        /// How many batches of one caller may be in progress at once; none if the server does not say.
        concurrent_batches_max: Option<u64> = count_if_any(concurrent_batches_max),
        /// The largest movement, and the highest overdraft limit, in minor units; none if the server does not say.
        amount_minor_units_max: Option<u64> = count_if_any(amount_minor_units_max),
    }

    /// What a server has acknowledged since it started and then found gone, because its store went back
    /// to an earlier state.
    pub struct LostWrites from LostWrites {
        /// How many accounts lack something.
        accounts: u64 = count(accounts),
        /// How many entries they lack, at least.
        entries_min: u64 = count(entries_min),
        /// When the last of them was found; none if there is none.
        found_at: Option<Timestamp> = optional(found_time),
    }
}
