//! The Redis store satisfies the contract on real servers, and during their failures.
//!
//! All tests run on the oldest server that is supported. On the newest Redis and Valkey only those run that depend
//! on the server: the contract, the differential test, wording and kinds of errors, damage, durability,
//! outages and failovers. What depends on the store's own code alone (faults that are injected above the server,
//! expiry, the layout, identity) is not repeated on them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![expect(clippy::duplicate_mod, reason = "the same tests run on each server")]

mod proxy;

/// A kind of server to test on.
pub(crate) struct Binary {
    path: &'static str,
    /// A line of `INFO` begins with this.
    version: &'static str,
    install: &'static str,
}

/// The oldest Redis that is supported, as in Debian 12.
#[path = "."]
mod redis_7_0 {
    mod clocks;
    mod cluster;
    mod cluster_contract;
    mod cluster_faults;
    mod cluster_load;
    mod cluster_moves;
    mod contract;
    mod damage;
    mod durability;
    mod expiry;
    mod faults;
    mod identity;
    mod layout;
    mod outages;
    mod rejections;
    mod sentinel;
    mod server;
    mod setup;

    pub(crate) const SERVER: crate::Binary = crate::Binary {
        path: "redis-server",
        version: "redis_version:7.0.",
        install: "redis-server 7.0 must be in the path: run scripts/setup on Debian 12",
    };
}

macro_rules! test_on {
    ($module:ident, $file:literal, $version:literal $(, $extra:ident)*) => {
        #[path = "."]
        mod $module {
            mod cluster;
            mod cluster_contract;
            mod cluster_faults;
            mod cluster_load;
            mod cluster_moves;
            $(mod $extra;)*
            mod contract;
            mod damage;
            mod durability;
            mod outages;
            mod rejections;
            mod sentinel;
            mod server;
            mod setup;

            pub(crate) const SERVER: crate::Binary = crate::Binary {
                path: concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/", $file),
                version: $version,
                install: concat!("target/servers/", $file, " is missing: run scripts/setup"),
            };
        }
    };
}

test_on!(redis_8_2, "redis-8.2", "redis_version:8.2.");
test_on!(valkey_9_1, "valkey-9.1", "valkey_version:9.1.", cluster_migrateslots);
