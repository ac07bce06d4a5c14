//! Redis 8.2.

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
    path: concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/redis-8.2"),
    version: "redis_version:8.2.",
    install: "target/servers/redis-8.2 is missing: run scripts/setup",
};
