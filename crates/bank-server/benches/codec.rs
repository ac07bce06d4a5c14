//! The cost of parsing and rendering a deposit, alone and in a batch of a thousand.

#[path = "server/sample.rs"]
mod sample;

use bank_proto::v1::{self, operation, operation_result};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

const OPERATIONS: usize = 1_000;

fn request() -> v1::DepositRequest {
    v1::DepositRequest {
        account_id: "bench-0000000".to_owned(),
        amount: Some(v1::Money { currency_code: "USD".to_owned(), minor_units: 1 }),
        request_id: "00000000-0000-7000-8000-000000000000".to_owned(),
        ..Default::default()
    }
}

fn batch() -> v1::ExecuteBatchRequest {
    let operation = v1::Operation { kind: Some(operation::Kind::Deposit(request())) };
    v1::ExecuteBatchRequest {
        operations: vec![operation; OPERATIONS],
        receipts_only: true,
        ..Default::default()
    }
}

fn receipts() -> v1::ExecuteBatchResponse {
    let receipt = v1::OperationReceipt {
        transaction_id: "bench-0000000/1767225600000-1000".to_owned(),
        sequence: 1_000,
        currency_code: "USD".to_owned(),
        amount_minor_units: 1,
        balance_minor_units: 100_000,
        replayed: false,
    };
    let result = v1::OperationResult { outcome: Some(operation_result::Outcome::Receipt(receipt)) };
    v1::ExecuteBatchResponse { results: vec![result; OPERATIONS] }
}

fn reads<M: Message + Default>(criterion: &mut Criterion, name: &str, operations: usize, message: &M) {
    let bytes = message.encode_to_vec();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(format!("read {name}"), |bencher| bencher.iter(|| M::decode(bytes.as_slice())));
    group.finish();
}

fn writes(criterion: &mut Criterion, name: &str, operations: usize, message: &impl Message) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(format!("write {name}"), |bencher| bencher.iter(|| message.encode_to_vec()));
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    reads(criterion, "a deposit", 1, &request());
    writes(criterion, "its reply", 1, &sample::reply());
    reads(criterion, "a batch of 1,000", OPERATIONS, &batch());
    writes(criterion, "its receipts", OPERATIONS, &receipts());
}

criterion_group!(benches, codec);
criterion_main!(benches);
