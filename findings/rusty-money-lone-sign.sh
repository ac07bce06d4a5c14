#!/usr/bin/env bash
# rusty-money 0.5.1 (crates registry; needs cargo)
# Guess:   Money::from_str refuses a text without a digit, and an amount with more decimals than its currency has.
# Instead: a lone "-", which many statements print for "nothing", is zero; "1.005" is taken as an amount in
#          dollars, is kept with half a cent, and prints as $1.00, so two of them print as $1.00 and add up to $2.01.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cargo init --quiet --vcs none --name seen .
echo 'rusty-money = "=0.5.1"' >>Cargo.toml
cat >src/main.rs <<'RS'
use rusty_money::{Money, iso};
fn main() {
    let read = |text| Money::from_str(text, iso::USD);
    println!("{:?}", read("-").map(|money| money.amount().to_string()));
    println!("{:?}", read("").map(|money| money.amount().to_string()));
    let half = read("1.005").expect("it is taken");
    println!("{half} and {half} are {}", half.clone().add(half).expect("one currency"));
}
RS
seen=$(CARGO_TARGET_DIR="$folder/target" cargo run --quiet)
expected='Ok("0.00")
Err(InvalidAmount)
$1.00 and $1.00 are $2.01'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2
