//! The oldest Redis that is supported, as Debian 12 has it.

#[path = "clocks.rs"]
mod clocks;
#[path = "contract.rs"]
mod contract;
#[path = "damage.rs"]
mod damage;
#[path = "durability.rs"]
mod durability;
#[path = "expiry.rs"]
mod expiry;
#[path = "faults.rs"]
mod faults;
#[path = "identity.rs"]
mod identity;
#[path = "layout.rs"]
mod layout;
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
    path: "redis-server",
    version: "redis_version:7.0.",
    install: "redis-server 7.0 must be in the path: run scripts/setup on Debian 12",
};
