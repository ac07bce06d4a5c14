/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/futures_sink-c0e60edf7e5ab8ca.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/futures-sink-0.3.34/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libfutures_sink-c0e60edf7e5ab8ca.rlib: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/futures-sink-0.3.34/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libfutures_sink-c0e60edf7e5ab8ca.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/futures-sink-0.3.34/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/futures-sink-0.3.34/src/lib.rs:
