/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/pin_project_lite-a89d71eb3bd837cc.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/pin-project-lite-0.2.18/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libpin_project_lite-a89d71eb3bd837cc.rlib: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/pin-project-lite-0.2.18/src/lib.rs

/work/wt/fuzz/fuzz/target/x86_64-unknown-linux-gnu/release/deps/libpin_project_lite-a89d71eb3bd837cc.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/pin-project-lite-0.2.18/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/pin-project-lite-0.2.18/src/lib.rs:
