#!/usr/bin/env bash
# csv 1.4.0 (crates registry; needs cargo)
# Guess:   a payment file in which a quote is never closed is an error at that line.
# Instead: the reader takes everything up to the end of the file as one field. Three payments are read
#          as one, without an error, if the fields before the quote are complete; `flexible(false)` only notices when
#          the number of fields then differs. Whoever executes such a file must look for line breaks in fields,
#          or for a quote that is still open at the end.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cargo init --quiet --vcs none --name seen .
echo 'csv = "=1.4.0"' >>Cargo.toml
cat >src/main.rs <<'RS'
fn main() {
    let file = "account,amount,text\na,1.00,\"rent\nb,2.00,food\nc,3.00,fuel\n";
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    for record in reader.records() {
        println!("{:?}", record.map(|record| record.iter().map(str::to_owned).collect::<Vec<_>>()));
    }
}
RS
seen=$(CARGO_TARGET_DIR="$folder/target" cargo run --quiet)
expected='Ok(["a", "1.00", "rent\nb,2.00,food\nc,3.00,fuel\n"])'
echo "csv 1.4.0 reads: $seen"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
