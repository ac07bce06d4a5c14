//! Valkey 9.1.

#[path = "contract.rs"]
mod contract;
#[path = "damage.rs"]
mod damage;
#[path = "durability.rs"]
mod durability;
#[path = "outages.rs"]
mod outages;
#[path = "rejections.rs"]
mod rejections;
#[path = "sentinel.rs"]
mod sentinel;
#[path = "server.rs"]
mod server;
#[path = "setup.rs"]
mod setup;

use crate::Binary;

pub(crate) const SERVER: Binary = Binary {
    path: concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/valkey-9.1"),
    version: "valkey_version:9.1.",
    install: "target/servers/valkey-9.1 is missing: run scripts/setup",
};
