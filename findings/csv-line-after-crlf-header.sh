#!/usr/bin/env bash
# csv 1.4.0 (crates registry; needs cargo)
# Guess:   position().line() of a record is the line that it begins on.
# Instead: with Windows line ends it is the line before, for every record: the position is taken between "\r" and "\n". An error
#          message about line 3 of a payment file then sends people to line 2.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cargo init --quiet --vcs none --name seen .
echo 'csv = "=1.4.0"' >>Cargo.toml
cat >src/main.rs <<'RS'
fn lines(file: &str) -> Vec<u64> {
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    reader.records().map(|record| record.expect("it is valid").position().expect("it was read").line()).collect()
}
fn main() {
    println!("{:?} {:?}", lines("a,b\n1,2\n3,4\n5,6\n"), lines("a,b\r\n1,2\r\n3,4\r\n5,6\r\n"));
}
RS
seen=$(CARGO_TARGET_DIR="$folder/target" cargo run --quiet)
expected='[2, 3, 4] [1, 2, 3]'
echo "lines with \\n, and with \\r\\n: $seen"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
