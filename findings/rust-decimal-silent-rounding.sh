#!/usr/bin/env bash
# rust_decimal 1.43.0 (crates registry; needs cargo)
# Guess:   "0.00000000000000000000000000005".parse::<Decimal>() is exact or an error, and only digits, a sign and a
#          point are a decimal number.
# Instead: what does not fit into 28 decimals is rounded half up without an error (here to twice the value), digits
#          are dropped at the upper end too, and underscores anywhere after the first digit and exponents are accepted: "1_",
#          "1__0" and "1e3" are numbers. from_str_exact refuses what does not fit and exponents, but not underscores.
#          Whoever reads amounts must check the spelling first.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
cargo init --quiet --vcs none --name seen .
echo 'rust_decimal = "=1.43.0"' >>Cargo.toml
cat >src/main.rs <<'RS'
use rust_decimal::Decimal;
fn main() {
    for text in ["0.00000000000000000000000000005", "79228162514264337593543950335.4", "1_", "1__0", "1e3"] {
        let exact = Decimal::from_str_exact(text).map_or("refused".to_owned(), |number| number.to_string());
        println!("{text}: parse {:?}, from_str_exact {exact}", text.parse::<Decimal>().map(|number| number.to_string()));
    }
}
RS
seen=$(CARGO_TARGET_DIR="$folder/target" cargo run --quiet)
expected='0.00000000000000000000000000005: parse Ok("0.0000000000000000000000000001"), from_str_exact refused
79228162514264337593543950335.4: parse Ok("79228162514264337593543950335"), from_str_exact refused
1_: parse Ok("1"), from_str_exact 1
1__0: parse Ok("10"), from_str_exact 10
1e3: parse Ok("1000"), from_str_exact refused'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2
