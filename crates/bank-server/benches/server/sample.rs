//! The reply to a deposit.

use bank_proto::v1;

/// As large as a real one.
pub(crate) fn reply() -> v1::DepositResponse {
    let money = |minor_units| Some(v1::Money { currency_code: "USD".to_owned(), minor_units });
    v1::DepositResponse {
        account_id: "bench-0000000".to_owned(),
        message: "Successfully deposited $0.01".to_owned(),
        balance: money(100_000),
        entry: Some(v1::Entry {
            transaction_id: "bench-0000000/1767225600000-1000".to_owned(),
            account_id: "bench-0000000".to_owned(),
            sequence: 1_000,
            kind: v1::EntryKind::Deposit.into(),
            amount: money(1),
            balance_after: money(100_000),
            create_time: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 }),
            request_id: "00000000-0000-7000-8000-000000000000".to_owned(),
            entry_hash: "0".repeat(64),
            ..Default::default()
        }),
        replayed: false,
    }
}
