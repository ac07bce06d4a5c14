//! Calls that are answered before their message has arrived.
//!
//! The bug: a caller whose calls were rejected by their headers lost the connection after some 150 of
//! them, with all other calls on it. The server reset each such call, as HTTP/2 has it, while its
//! message was on its way. Messages that came in after HTTP/2 had forgotten the call counted as
//! violations by the client, and after 100 of them its connection was closed with
//! `ENHANCE_YOUR_CALM, too_many_internal_resets`. It showed now and then, on a loaded machine: commonly
//! headers and message arrive together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use bank_server::{
    auth::Authentication,
    config::{self, Args},
    grpc::BankApi,
    ledger::Ledger,
    metrics::Metrics,
    network::Socket,
    server::{Gate, Server, ServerOptions, UnreadBounds},
};
use bank_store::MemoryStore;
use clap::Parser as _;

use crate::support::{
    Bank,
    frames::{Event, Frames},
    tokens::{CUSTOMER, Issuer},
};

const DEPOSIT: &str = "/bank.v1.BankService/Deposit";
const UNKNOWN: &str = "/bank.v1.BankService/Unknown";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// A message without fields.
const EMPTY: [u8; 5] = [0; 5];

/// A call with its message.
async fn check(frames: &mut Frames, id: u32) {
    frames.call(id, CHECK, &[]).await;
    frames.data(id, &EMPTY).await;
    frames.end(id).await;
}

/// Makes many calls on one connection, waits for most of their replies, and only then sends their
/// messages. The connection must stay open.
async fn messages_come_late(bank: &Bank, path: &str, headers: &[(&str, &str)], begins: &[u8]) {
    const CALLS: u32 = 300;
    let ids = || (0..CALLS).map(|call| 2 * call + 1);
    let mut frames = Frames::open(bank.port()).await;
    for id in ids() {
        frames.call(id, path, headers).await;
        if !begins.is_empty() {
            frames.data(id, begins).await;
        }
    }
    let (mut answered, mut reset) = (0, 0);
    let mut until_answered = async |frames: &mut Frames, calls| {
        while answered < calls {
            match frames.next_event().await {
                Event::Ended(_) => answered += 1,
                Event::Reset(..) => reset += 1,
                Event::GoAway(reason) => panic!("{path}: the connection is closed: {reason}"),
            }
        }
        reset
    };
    // Some may be admitted, and wait for their message.
    until_answered(&mut frames, CALLS * 2 / 3).await;
    for id in ids() {
        frames.data(id, &EMPTY).await;
        frames.end(id).await;
    }
    check(&mut frames, 2 * CALLS + 1).await;
    assert_eq!(until_answered(&mut frames, CALLS + 1).await, 0, "{path}: calls are reset");
}

#[tokio::test]
async fn rejected_calls_whose_messages_come_late_keep_the_connection_open() {
    let issuer = Issuer::new();
    let bearer = format!("Bearer {}", issuer.token("busy", CUSTOMER));
    let known = [("authorization", &*bearer)];
    for bound in
        ["callers.calls_burst_max=1", "callers.calls_in_flight_max=1", "server.calls_in_flight_max=1"]
    {
        let flags = ["--set", "callers.calls_per_second_max=1", "--set", bound];
        let flags = if bound.starts_with("callers.calls_burst") { &flags[..] } else { &flags[2..] };
        messages_come_late(&Bank::with_tokens(&issuer, flags).await, DEPOSIT, &known, &[]).await;
    }
    let bank = Bank::with_tokens(&issuer, &["--set", "server.streams_max=1"]).await;
    for token in [&[][..], &[("authorization", "Bearer nonsense")]] {
        messages_come_late(&bank, DEPOSIT, token, &[]).await;
    }
    messages_come_late(&bank, UNKNOWN, &known, &[]).await;
    messages_come_late(&bank, "/bank.v1.Unknown/Deposit", &[], &[]).await;
    messages_come_late(&bank, REFLECTION, &[], &[]).await;
    // A length over the limit, a flag that does not exist, and a message that makes no sense.
    for begins in [&[0, 0, 1, 0, 1][..], &[2], &[0, 0, 0, 0, 1, 255]] {
        messages_come_late(&bank, DEPOSIT, &known, begins).await;
    }
}

#[tokio::test]
async fn calls_that_time_out_before_their_message_keep_the_connection_open() {
    let flags = ["--set", "server.request_timeout_ms_max=300", "--set", "ledger.outcome_timeout_ms=200"];
    let bank = Bank::memory_with(&flags).await;
    for path in [DEPOSIT, CHECK] {
        messages_come_late(&bank, path, &[], &[]).await;
    }
}

/// A server in this process, with limits that are not settings, and its port.
fn serve(unread: UnreadBounds) -> (Server, u16) {
    let args = Args::try_parse_from(["bank-server", "--listen", "127.0.0.1:0"]).unwrap();
    let config = config::load(&args, []).unwrap().config;
    let metrics = Arc::new(Metrics::new().unwrap());
    let store = Arc::new(MemoryStore::new(config.request_retention()));
    let ledger = Ledger::start(store, Arc::clone(&metrics), &config.ledger_options());
    let api = BankApi::new(ledger.clone(), config.api_options());
    let gate = Gate { tls: None, authentication: Authentication::Disabled };
    let socket = Socket::bind(config.server.listen).unwrap();
    let options = ServerOptions { unread, ..config.server_options() };
    let server = Server::start(socket, api, ledger, metrics, gate, &options).unwrap();
    let port = server.address().port();
    (server, port)
}

/// Makes calls that are rejected, and does not send their messages.
async fn refuse(frames: &mut Frames, ids: impl Iterator<Item = u32>) {
    for id in ids {
        frames.call(id, UNKNOWN, &[]).await;
        assert_eq!(frames.next_event().await, Event::Ended(id));
    }
}

#[tokio::test]
async fn unread_request_messages_are_bounded() {
    let seconds = Duration::from_mins(1);
    let (_server, port) = serve(UnreadBounds { messages_max: 10, bytes_max: 1000, timeout: seconds });
    let mut frames = Frames::open(port).await;
    let kept: Vec<u32> = (0..10).map(|call| 2 * call + 1).collect();
    refuse(&mut frames, kept.iter().copied()).await;
    // One more is reset without an error: its reply is whole.
    refuse(&mut frames, [21].into_iter()).await;
    assert_eq!(frames.next_event().await, Event::Reset(21, 0));
    // So is one that sends too much; its permit is free again.
    frames.data(kept[0], &[0; 1000]).await;
    assert_eq!(frames.next_event().await, Event::Reset(kept[0], 0));
    refuse(&mut frames, [23].into_iter()).await;
    for id in kept.into_iter().skip(1).chain([23]) {
        frames.data(id, &[0; 999]).await;
        frames.end(id).await;
    }
    check(&mut frames, 25).await;
    assert_eq!(frames.next_event().await, Event::Ended(25), "none of these is reset");

    let timeout = Duration::from_millis(100);
    let (_server, port) = serve(UnreadBounds { messages_max: 10, bytes_max: 1000, timeout });
    let mut frames = Frames::open(port).await;
    refuse(&mut frames, [1].into_iter()).await;
    assert_eq!(frames.next_event().await, Event::Reset(1, 0));
}

/// A health check needs no permit, unless it is one of many whose messages do not arrive.
#[tokio::test]
async fn limits_health_checks_without_a_message() {
    let bank = Bank::memory_with(&["--set", "server.streams_max=2"]).await;
    let mut frames = Frames::open(bank.port()).await;
    // Eight need none, and two have permits.
    for id in (0..11).map(|call| 2 * call + 1) {
        frames.call(id, CHECK, &[]).await;
    }
    assert_eq!(frames.next_event().await, Event::Ended(21));
    let mut others = Frames::open(bank.port()).await;
    check(&mut others, 1).await;
    assert_eq!(others.next_event().await, Event::Ended(1));
}

/// CVE-2025-8671: a client that makes the server reset its calls as fast as it can make them.
#[tokio::test]
async fn provoked_resets_are_bounded() {
    let bank = Bank::memory().await;
    let mut frames = Frames::open(bank.port()).await;
    for id in (0..100).map(|call| 2 * call + 1) {
        provoke_reset(&mut frames, id).await;
        assert!(matches!(frames.next_event().await, Event::Reset(reset, _) if reset == id));
    }
    provoke_reset(&mut frames, 201).await;
    assert_eq!(frames.next_event().await, Event::GoAway("too_many_internal_resets".to_owned()));
}

async fn provoke_reset(frames: &mut Frames, id: u32) {
    frames.call(id, DEPOSIT, &[]).await;
    // With the earlier ones, that is more than HTTP/2 tolerates.
    frames.make_room(id, i32::MAX.unsigned_abs()).await;
}
