/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/smallvec-f85c764920280754.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/smallvec-1.16.6/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libsmallvec-f85c764920280754.rlib: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/smallvec-1.16.6/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libsmallvec-f85c764920280754.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/smallvec-1.16.6/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/smallvec-1.16.6/src/lib.rs:
