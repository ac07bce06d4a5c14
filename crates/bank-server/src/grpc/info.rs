//! What the server is and what it promises.

use bank_proto::v1;
use bank_store::{DurabilityLevel, Store};
use tokio::time::timeout;

use super::{
    api::{BankApi, Reading},
    options::{ApiOptions, ServerFacts},
    page,
    parse::NoFields,
    render,
};
use crate::{ledger::LostWrites, status::Failure};

pub(super) async fn server_info(
    reading: Reading<'_>,
    _: NoFields,
) -> Result<v1::GetServerInfoResponse, Failure> {
    let BankApi { ledger, options, started_at, started, .. } = reading.api;
    Ok(v1::GetServerInfoResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(render::time(*started_at)),
        uptime: Some(render::duration(started.elapsed())),
        store: Some(store_info(&**ledger.store(), &options.facts).await),
        limits: Some(limits(options)),
        lost_writes: Some(lost_writes(ledger.lost_writes())),
    })
}

async fn store_info(store: &dyn Store, facts: &ServerFacts) -> v1::StoreInfo {
    let problem = match timeout(facts.store_timeout, store.health()).await {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store does not answer".to_owned(),
    };
    let durability = store.durability();
    let level = match durability.level {
        DurabilityLevel::None => v1::DurabilityLevel::None,
        DurabilityLevel::EverySecond => v1::DurabilityLevel::EverySecond,
        DurabilityLevel::Always => v1::DurabilityLevel::Always,
    };
    v1::StoreInfo {
        kind: facts.store_kind.to_owned(),
        name: store.name(),
        bank_id: store.bank_id().to_owned(),
        durability: Some(v1::Durability {
            level: level.into(),
            replicas: small(durability.replicas),
            description: durability.description,
        }),
        problem,
    }
}

fn limits(options: &ApiOptions) -> v1::ServerLimits {
    let ApiOptions { facts, batches, request_timeout, amount_minor_units_max, .. } = options;
    v1::ServerLimits {
        message_bytes_max: large(facts.message_bytes_max),
        reply_bytes_max: large(facts.reply_bytes_max),
        header_bytes_max: facts.header_bytes_max.into(),
        concurrent_streams_max: small(facts.concurrent_streams_max),
        page_size_default: small(page::SIZE_DEFAULT),
        page_size_max: small(page::SIZE_MAX),
        queue_commands_max: small(facts.queue_commands_max),
        batch_commands_max: small(facts.batch_commands_max),
        request_timeout_max: Some(render::duration(*request_timeout)),
        outcome_timeout: Some(render::duration(facts.outcome_timeout)),
        request_retention: Some(render::duration(facts.request_retention)),
        batch_operations_max: small(batches.operations_max),
        batch_bytes_max: large(batches.bytes_max),
        stream_batches_max: small(batches.stream_batches_max),
        calls_per_second_max: small(facts.callers.calls_per_second_max.get()),
        calls_burst_max: small(facts.callers.calls_burst_max.get()),
        calls_in_flight_max: small(facts.callers.calls.per_caller),
        concurrent_batches_max: small(facts.callers.batches.per_caller),
        amount_minor_units_max: *amount_minor_units_max,
    }
}

fn lost_writes(lost: LostWrites) -> v1::LostWrites {
    v1::LostWrites {
        accounts: large(lost.accounts),
        entries_min: large(lost.entries_min),
        found_time: lost.found_at.map(render::time),
    }
}

/// The bounds of the configuration are far below those of the wire.
fn small(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

fn large(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
