//! Attackers, and a well-behaved client that must be served meanwhile.
//!
//! Each address is another peer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bank_proto::v1;
use bytes::Bytes;
use h2::client::SendRequest;
use http::Method;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    Bank,
    api::{Client, connect, deposit, savings},
};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DEPOSIT: &str = "/bank.v1.BankService/Deposit";
pub const LIST: &str = "/bank.v1.BankService/ListTransactions";

/// A connection from one of the addresses of this machine.
pub async fn dial(bank: &Bank, from: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, bank.port()))).await
}

/// HTTP/2 without gRPC, from another address than the other clients.
pub async fn speak(bank: &Bank, builder: &h2::client::Builder) -> (SendRequest<Bytes>, JoinHandle<()>) {
    speak_from(bank, 9, builder).await
}

/// The same from the given address.
pub async fn speak_from(
    bank: &Bank,
    from: u8,
    builder: &h2::client::Builder,
) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let (requests, connection) = builder.handshake(dial(bank, from).await.unwrap()).await.unwrap();
    (requests, tokio::spawn(async move { drop(connection.await) }))
}

pub fn post(path: &str) -> http::Request<()> {
    let uri = format!("http://bank{path}");
    let request = http::Request::builder().method(Method::POST).uri(uri);
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

/// The same with a token.
pub fn post_as(path: &str, token: &str) -> http::Request<()> {
    let mut request = post(path);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// A message as it is sent: its length before it.
pub fn framed(message: &impl prost::Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// A message that announces `length` bytes, with only `sent` of them.
pub fn unfinished(length: usize, sent: usize) -> Bytes {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&[0][..], &length, &vec![0; sent]].concat().into()
}

/// Whether the other side closes the connection.
pub async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            // A greeting, or a farewell.
            Ok(_) => {}
        }
    }
}

/// A well-behaved client: calls one after another until it is stopped.
pub struct WellBehaved {
    stop: oneshot::Sender<()>,
    calls: JoinHandle<(u64, Duration)>,
}

impl WellBehaved {
    pub async fn start(bank: &Bank) -> Self {
        Self::calling(connect(&bank.endpoint()).await).await
    }

    /// The same with the given client.
    pub async fn calling(mut client: Client) -> Self {
        client.create_account(savings("good")).await.unwrap();
        Self::with(move || {
            let mut client = client.clone();
            async move { client.deposit(deposit("good", 1)).await.unwrap().into_inner() }
        })
    }

    /// Deposits one minor unit again and again, each time on top of all that was deposited before.
    pub fn with<Call>(mut deposit_one: impl FnMut() -> Call + Send + 'static) -> Self
    where
        Call: Future<Output = v1::DepositResponse> + Send,
    {
        let (stop, mut stopped) = oneshot::channel();
        let calls = tokio::spawn(async move {
            let (mut calls, mut longest) = (0, Duration::ZERO);
            while stopped.try_recv().is_err() {
                let began_at = Instant::now();
                let deposited = deposit_one().await;
                longest = longest.max(began_at.elapsed());
                calls += 1;
                let balance = deposited.balance.unwrap().minor_units;
                assert_eq!(u64::try_from(balance), Ok(calls), "a deposit was lost, or made twice");
                sleep(Duration::from_millis(1)).await;
            }
            (calls, longest)
        });
        Self { stop, calls }
    }

    /// How many deposits it has made.
    pub async fn stop(self) -> u64 {
        self.stop_with_longest().await.0
    }

    /// The same with how long the longest took.
    pub async fn stop_with_longest(self) -> (u64, Duration) {
        self.stop.send(()).unwrap();
        self.calls.await.unwrap()
    }
}

/// Prints how much memory the server has, and returns it.
pub fn report(what: &str, bank: &Bank, before_kib: u64) -> u64 {
    let now_kib = bank.memory_kib();
    eprintln!("{what}: the server has {now_kib} KiB, {before_kib} KiB before");
    now_kib
}

/// Prints how much memory the server has had at most, and returns it.
pub fn report_peak(what: &str, bank: &Bank) -> u64 {
    let peak_kib = bank.memory_peak_kib();
    eprintln!("{what}: the server has had {} MiB at most", peak_kib / 1024);
    peak_kib
}
