/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/cfg_if-f78b96ca5dfd13ce.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/cfg-if-1.0.5/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libcfg_if-f78b96ca5dfd13ce.rlib: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/cfg-if-1.0.5/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libcfg_if-f78b96ca5dfd13ce.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/cfg-if-1.0.5/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/cfg-if-1.0.5/src/lib.rs:
