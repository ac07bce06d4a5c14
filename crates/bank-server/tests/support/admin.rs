//! The admin port of a server.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::Bank;

/// How long anything may take before a test fails. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(10);

/// A request over HTTP/1.1: the code of the answer, and its body.
pub async fn ask(bank: &Bank, method: &str, path: &str, body: &str) -> (u16, String) {
    ask_with(bank, method, path, "host: localhost\r\n", body).await
}

/// The same with other headers than its host.
pub async fn ask_with(bank: &Bank, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address(bank).await).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// Where the admin port is.
pub async fn address(bank: &Bank) -> SocketAddr {
    bank.logged("answering /metrics").await["admin"].as_str().unwrap().parse().unwrap()
}

pub async fn metrics(bank: &Bank) -> String {
    let (code, text) = ask(bank, "GET", "/metrics", "").await;
    assert_eq!(code, 200);
    text
}

pub fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{metrics}")).parse().unwrap()
}

/// Waits until `/readyz` is answered with this code.
pub async fn becomes_ready(bank: &Bank, expected: u16) {
    let give_up_at = Instant::now() + PATIENCE;
    while ask(bank, "GET", "/readyz", "").await.0 != expected {
        assert!(Instant::now() < give_up_at, "/readyz does not become {expected}");
        sleep(PAUSE).await;
    }
}

/// Waits until a series of the metrics has this value.
pub async fn becomes(bank: &Bank, series: &str, expected: u32) {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let found = value(&metrics(bank).await, series);
        if found.to_bits() == f64::from(expected).to_bits() {
            return;
        }
        assert!(Instant::now() < give_up_at, "{series} is {found}, and does not become {expected}");
        sleep(PAUSE).await;
    }
}

/// Waits until so many commands in all have come into the queue, whether or not they have left it.
pub async fn in_work(bank: &Bank, commands: u32) {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let text = metrics(bank).await;
        let found = value(&text, "bank_queue_commands") + value(&text, "bank_queue_wait_seconds_count");
        if found.to_bits() == f64::from(commands).to_bits() {
            return;
        }
        assert!(Instant::now() < give_up_at, "{found} commands, and not {commands}");
        sleep(PAUSE).await;
    }
}

/// Waits until so many commands in all have left the queue, to be carried out.
pub async fn taken(bank: &Bank, commands: u32) {
    becomes(bank, "bank_queue_wait_seconds_count", commands).await;
}
