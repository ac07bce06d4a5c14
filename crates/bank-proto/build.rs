//! Compiles `proto/` with protox, so that no `protoc` is needed.

use std::{env, fs, path::Path};

use anyhow::Context as _;
use prost::Message as _;

const PROTO_ROOT: &str = "../../proto";
const SERVICE: &str = "../../proto/bank/v1/bank_service.proto";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");

    let descriptors = protox::compile([SERVICE], [PROTO_ROOT]).context("proto/ does not compile")?;
    let out_dir = env::var("OUT_DIR").context("OUT_DIR is set by cargo")?;
    fs::write(Path::new(&out_dir).join("bank_descriptor.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        // Else every result of a batch would take the room of the largest.
        .boxed(".bank.v1.Operation.kind.calculate_interest")
        .boxed(".bank.v1.Operation.kind.create_account")
        .boxed(".bank.v1.OperationResult.outcome.deposit")
        .boxed(".bank.v1.OperationResult.outcome.withdraw")
        .boxed(".bank.v1.OperationResult.outcome.transfer")
        .boxed(".bank.v1.OperationResult.outcome.calculate_interest")
        .boxed(".bank.v1.OperationResult.outcome.create_account")
        .boxed(".bank.v1.OperationResult.outcome.set_overdraft_limit")
        .boxed(".bank.v1.OperationResult.outcome.freeze_account")
        .boxed(".bank.v1.OperationResult.outcome.unfreeze_account")
        .boxed(".bank.v1.OperationResult.outcome.close_account")
        .compile_fds(descriptors)
        .context("cannot generate code for proto/")
}
