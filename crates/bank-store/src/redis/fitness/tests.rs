use std::{sync::Arc, time::Duration};

use super::*;
use crate::clock::{SystemClock, Timekeeper};

fn redis(settings: &[(&str, &str)]) -> Inspection {
    let defaults = [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
    ];
    let settings = defaults.iter().chain(settings);
    Inspection {
        run_id: "a".to_owned(),
        is_primary: true,
        is_loading: false,
        bank_id: Some("b".to_owned()),
        time: Timestamp::UNIX_EPOCH,
        committed_at: None,
        replicas: 1,
        is_rewriting: false,
        settings: Some(Ok(settings.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())),
    }
}

fn options(durability: DurabilityLevel) -> RedisOptions {
    let clock = Timekeeper::new(Arc::new(SystemClock), Duration::from_secs(1));
    RedisOptions { durability, clock, ..RedisOptions::default() }
}

#[test]
fn settings_that_are_too_weak_are_reported_with_a_remedy() {
    use DurabilityLevel::{Always, EverySecond, None as Nothing};
    for (level, settings, hints) in [
        (Always, &[][..], &[][..]),
        (EverySecond, &[], &[]),
        (Nothing, &[], &[]),
        (EverySecond, &[("appendfsync", "everysec")], &[]),
        (Nothing, &[("appendonly", "no"), ("no-appendfsync-on-rewrite", "yes")], &[]),
        (
            Always,
            &[("appendfsync", "everysec")],
            &[
                "has appendfsync everysec",
                "\"always\" requires appendfsync always",
                "`redis-cli CONFIG SET appendfsync always`",
                "durability = \"everysec\"",
            ],
        ),
        (
            Always,
            &[("appendfsync", "no"), ("appendonly", "no")],
            &[
                "has appendfsync no and appendonly no",
                "requires appendfsync always and appendonly yes",
                "SET appendfsync always` and `redis-cli CONFIG SET appendonly yes` and",
                "durability = \"none\"",
            ],
        ),
        (EverySecond, &[("appendfsync", "no")], &["appendfsync everysec", "durability = \"none\""]),
        (
            EverySecond,
            &[("no-appendfsync-on-rewrite", "yes")],
            &["has no-appendfsync-on-rewrite yes", "CONFIG SET no-appendfsync-on-rewrite no"],
        ),
        (Always, &[("no-appendfsync-on-rewrite", "yes")], &["requires no-appendfsync-on-rewrite no"]),
        (Nothing, &[("maxmemory-policy", "allkeys-lru")], &["allkeys-lru", "noeviction"]),
    ] {
        let shortfall = shortfall(&options(level), &redis(settings), true);
        assert_eq!(shortfall.is_none(), hints.is_empty(), "{level} {settings:?}: {shortfall:?}");
        let message = shortfall.map(|shortfall| shortfall.to_string()).unwrap_or_default();
        for hint in hints {
            assert!(message.contains(hint), "{message:?} does not say {hint:?}");
        }
    }
}

#[test]
fn nothing_is_durable_while_the_file_may_be_written_for_the_first_time() {
    let rewriting = Inspection { is_rewriting: true, ..redis(&[]) };
    let always = options(DurabilityLevel::Always);
    assert!(shortfall(&always, &rewriting, false).is_some_and(|shortfall| shortfall.may_pass));
    assert_eq!(shortfall(&always, &rewriting, true), None);
    assert_eq!(shortfall(&options(DurabilityLevel::None), &rewriting, false), None);
    let unchecked = RedisOptions { check_config: false, ..always };
    let hidden = Inspection { settings: None, ..rewriting };
    assert_eq!(shortfall(&unchecked, &hidden, false), None);
}

#[test]
fn a_clock_does_not_go_back_behind_the_newest_commit() {
    let options = options(DurabilityLevel::Always);
    let committed_at = |ms| Some(Timestamp::try_from_unix_ms(ms).unwrap());
    let redis = |ms| Inspection { committed_at: committed_at(ms), ..redis(&[]) };
    assert_eq!(shortfall(&options, &redis(1_000), true), None);
    let shortfall = shortfall(&options, &redis(1_001), true).unwrap();
    assert!(!shortfall.may_pass && !shortfall.is_other_bank);
    assert!(shortfall.to_string().contains("behind 1970-01-01T00:00:01.001Z"), "{shortfall}");
}

#[test]
fn replicas_count_at_every_level() {
    let two = RedisOptions { replicas: 2, ..options(DurabilityLevel::None) };
    let missing = shortfall(&two, &redis(&[]), true).unwrap();
    assert!(missing.may_pass && missing.to_string().contains("Redis has 1 replicas"), "{missing}");
    assert_eq!(shortfall(&two, &Inspection { replicas: 3, ..redis(&[]) }, true), None);
}

#[test]
fn the_promise_names_replicas_and_what_is_not_checked() {
    let description = |options: &RedisOptions| promise(options).description;
    let always = options(DurabilityLevel::Always);
    assert_eq!(description(&always), "every acknowledged write is on the disk of Redis");
    assert_eq!(
        description(&RedisOptions { replicas: 2, ..always.clone() }),
        "every acknowledged write is on the disk of Redis, and in the memory of 2 replicas"
    );
    assert!(description(&RedisOptions { check_config: false, ..always }).contains("not checked"));
    assert!(description(&options(DurabilityLevel::EverySecond)).contains("two seconds"));
}

/// A stand-alone Redis is not asked for these.
#[test]
fn clusters_that_hurry_or_give_old_balances_are_reported_with_a_remedy() {
    for (settings, hints) in [
        (&[("cluster-node-timeout", "3500"), ("cluster-allow-reads-when-down", "no")][..], &[][..]),
        (
            &[("cluster-node-timeout", "3499")],
            &["silent for 3499 ms", "command_timeout_ms = 2000", "CONFIG SET cluster-node-timeout 3500"],
        ),
        (
            &[("cluster-node-timeout", "3500"), ("cluster-allow-reads-when-down", "yes")],
            &["old balances", "CONFIG SET cluster-allow-reads-when-down no"],
        ),
    ] {
        let shortfall = shortfall(&options(DurabilityLevel::Always), &redis(settings), true);
        assert_eq!(shortfall.is_some(), !hints.is_empty(), "{settings:?}");
        let text = shortfall.map(|shortfall| shortfall.to_string()).unwrap_or_default();
        for hint in hints {
            assert!(text.contains(hint), "{text:?} does not say {hint:?}");
        }
    }
}
