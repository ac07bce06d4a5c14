#!/usr/bin/env bash
# jiff 0.2.46 (crates registry; needs cargo)
# Guess:   a zone in brackets is used, or the text is refused where it cannot be.
# Instead: as a civil date and time the zone is dropped: 09:00 in Tokyo becomes 09:00 of whatever zone the
#          program then assumes. As a timestamp, an offset that the named zone has never had is believed, and the name ignored
#          (parsed as Zoned, the same text is an error). A tool that takes times from people must look for brackets itself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cargo init --quiet --vcs none --name seen .
echo 'jiff = "=0.2.46"' >>Cargo.toml
cat >src/main.rs <<'RS'
fn main() {
    println!("{:?}", "2026-11-30T09:00:00[Asia/Tokyo]".parse::<jiff::civil::DateTime>());
    println!("{:?}", "2026-11-30T09:00:00+09:00[America/New_York]".parse::<jiff::Timestamp>());
    println!("{:?}", "2026-11-30T09:00:00+09:00[America/New_York]".parse::<jiff::Zoned>().is_err());
}
RS
seen=$(CARGO_TARGET_DIR="$folder/target" cargo run --quiet)
expected='Ok(2026-11-30T09:00:00)
Ok(2026-11-30T00:00:00Z)
true'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2
