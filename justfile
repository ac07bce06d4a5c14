# What people run. `just` lists it.

_default:
    @just --list

# Start a bank in the file data/bank.redb.
run *arguments:
    cargo run --release -p bank-server -- {{arguments}}

# Pass all tests, installing what they need.
test *arguments:
    scripts/test {{arguments}}

# Run real servers through every fault, so many rounds of each, and print the figures.
faults rounds="20":
    BANK_FAULT_ROUNDS={{rounds}} cargo test --locked -p bank-server --test faults -- --nocapture --test-threads=1

# Fuzz one parser for so many seconds (needs nightly Rust and cargo-fuzz): `just fuzz request 600`.
fuzz target seconds="60":
    cargo +nightly fuzz run --sanitizer none {{target}} -- -max_total_time={{seconds}} -timeout=10 -rss_limit_mb=2048

# Measure the bank beside its limits: `just bench --quick`, `just bench --on memory unary`.
bench *arguments:
    cargo bench --locked -p bank-server --bench server -- {{arguments}}

# Run the original client's session against a running bank.
demo *arguments:
    cargo run -p bank-client --features cli --bin bank -- demo {{arguments}}

# Format everything.
format:
    cargo fmt --all

# Lint everything, as CI does.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Check licences, bans, sources and advisories (scripts/setup installs cargo-deny).
deny:
    target/tools/bin/cargo-deny --all-features check

# Check proto/ against buf's STANDARD rules (needs node).
lint-proto:
    cd proto && npx --yes @bufbuild/buf lint
