//! Does a Redis give what the operator asked for? If not: what it has, and what to do about it.

use std::{fmt, time::Duration};

use bank_domain::Timestamp;

use super::{
    RedisOptions,
    backup::MARK,
    inspection::{Inspection, Settings},
};
use crate::{Durability, DurabilityLevel, backup::MARKED};

/// What the operator asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) level: DurabilityLevel,
    pub(super) replicas: u32,
    /// Whether Redis is asked for its settings, or they are taken on the operator's word.
    pub(super) check_config: bool,
    /// How far back its clock may go.
    pub(super) clock_offset_max: Duration,
}

/// What a Redis lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// What it has and what it should have. Fit for callers to read: it does not say where Redis is.
    pub(super) found: String,
    /// What an operator can do.
    pub(super) remedy: String,
    /// Whether it may pass by itself in a moment.
    pub(super) may_pass: bool,
    /// Whether it is not this bank at all, so that not even reads can be trusted.
    pub(super) is_other_bank: bool,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.found, self.remedy)
    }
}

impl Demand {
    pub(super) fn of(options: &RedisOptions) -> Self {
        let RedisOptions { durability: level, replicas, check_config, .. } = *options;
        Self { level, replicas, check_config, clock_offset_max: options.clock.offset_max() }
    }

    /// What is lacking, if anything.
    ///
    /// `has_proof` is whether the append-only file of this very Redis has been seen at rest: after
    /// `CONFIG SET appendonly yes` it is not kept until it has been written for the first time, and
    /// nothing that Redis tells sets that apart from any other time it is written anew.
    pub(super) fn shortfall(self, inspection: &Inspection, has_proof: bool) -> Option<Shortfall> {
        let wrong = self.wrong_settings(&inspection.settings);
        let durable = self.level > DurabilityLevel::None && self.check_config;
        let behind =
            inspection.committed_at.filter(|time| time.is_ahead_of(inspection.time, self.clock_offset_max));
        wrong
            .or_else(|| behind.map(went_back))
            .or_else(|| (durable && inspection.is_rewriting && !has_proof).then(rewriting))
            .or_else(|| {
                (inspection.replicas < self.replicas)
                    .then(|| too_few_replicas(inspection.replicas, self.replicas))
            })
    }

    fn wrong_settings(self, settings: &Settings) -> Option<Shortfall> {
        let settings = match settings {
            Settings::NotAsked => return None,
            Settings::Hidden(reason) => return Some(self.hidden(reason)),
            Settings::Told(settings) => settings,
        };
        let has = |name: &str| settings.get(name).map_or("", String::as_str);
        if has("maxmemory-policy") != "noeviction" {
            return Some(throws_away(has("maxmemory-policy")));
        }
        // What is more than asked for is fine.
        let sync = match self.level {
            DurabilityLevel::None => return None,
            DurabilityLevel::EverySecond => &["everysec", "always"][..],
            DurabilityLevel::Always => &["always"],
        };
        let wrong: Vec<_> = [
            ("appendfsync", sync),
            // Else the file is not synced at all while it is written anew.
            ("no-appendfsync-on-rewrite", &["no"]),
            ("appendonly", &["yes"]),
        ]
        .into_iter()
        .filter(|(name, allowed)| !allowed.contains(&has(name)))
        .map(|(name, allowed)| (name, allowed[0]))
        .collect();
        if wrong.is_empty() {
            return None;
        }
        let is_kept = has("appendonly") == "yes" && has("no-appendfsync-on-rewrite") == "no";
        let given = match has("appendfsync") {
            "everysec" if is_kept => DurabilityLevel::EverySecond,
            _ => DurabilityLevel::None,
        };
        let each = |word: &dyn Fn(&str, &str) -> String| {
            wrong.iter().map(|(name, needed)| word(name, needed)).collect::<Vec<_>>().join(" and ")
        };
        Some(Shortfall {
            found: format!(
                "redis has {}, and store.redis.durability = \"{}\" needs {}",
                each(&|name, _| format!("{name} {}", has(name))),
                self.level,
                each(&|name, needed| format!("{name} {needed}")),
            ),
            remedy: format!(
                "run {} and `redis-cli CONFIG REWRITE`, or ask for what it gives with \
                 store.redis.durability = \"{given}\"",
                each(&|name, needed| command(name, needed)),
            ),
            may_pass: false,
            is_other_bank: false,
        })
    }

    fn hidden(self, reason: &str) -> Shortfall {
        Shortfall {
            found: format!("redis does not tell its settings ({reason})"),
            remedy: format!(
                "make sure that maxmemory-policy is noeviction and that it keeps writes as \
                 store.redis.durability = \"{}\" says, then set store.redis.check_config = false",
                self.level
            ),
            may_pass: false,
            is_other_bank: false,
        }
    }

    /// What is promised where all of this is given.
    pub(super) fn promise(self) -> Durability {
        let Self { level, replicas, check_config, .. } = self;
        let words = match level {
            DurabilityLevel::Always => "what is acknowledged is on redis's disk",
            DurabilityLevel::EverySecond => "a crash of redis's machine loses up to the last two seconds",
            DurabilityLevel::None => "a restart of redis loses what was acknowledged since its last snapshot",
        };
        let copies = match replicas {
            0 => String::new(),
            1 => ", and one replica has it in memory".to_owned(),
            replicas => format!(", and {replicas} replicas have it in memory"),
        };
        let caveat = if check_config {
            ""
        } else {
            "; so says the operator, redis is not asked (store.redis.check_config)"
        };
        Durability { level, replicas, description: format!("{words}{copies}{caveat}") }
    }
}

fn command(name: &str, value: &str) -> String {
    format!("`redis-cli CONFIG SET {name} {value}`")
}

fn throws_away(policy: &str) -> Shortfall {
    Shortfall {
        found: format!(
            "redis has maxmemory-policy {policy}, which throws accounts away when memory runs out"
        ),
        remedy: format!("run {} and `redis-cli CONFIG REWRITE`", command("maxmemory-policy", "noeviction")),
        may_pass: false,
        is_other_bank: false,
    }
}

/// What is wrong with a Redis whose clock is behind that of its newest commit.
pub(super) fn went_back(committed_at: Timestamp) -> Shortfall {
    Shortfall {
        found: format!("the clock of redis is behind {committed_at}, when the bank last changed"),
        remedy: "set the clock of its machine; if that is right, and the bank was changed while it was wrong, read \
                 docs/clocks.md before you start a server with clock.entries_ahead_allowed = true"
            .to_owned(),
        may_pass: false,
        is_other_bank: false,
    }
}

fn rewriting() -> Shortfall {
    Shortfall {
        found: "redis writes its append-only file anew, perhaps for the first time, and keeps nothing until \
                that is done"
            .to_owned(),
        remedy: "wait for it; if it fails, the log of redis says why".to_owned(),
        may_pass: true,
        is_other_bank: false,
    }
}

fn too_few_replicas(found: u32, needed: u32) -> Shortfall {
    Shortfall {
        found: format!("redis has {found} replicas that follow it, and store.redis.replicas = {needed}"),
        remedy: "start more with REPLICAOF, or set store.redis.replicas to what there is".to_owned(),
        may_pass: true,
        is_other_bank: false,
    }
}

/// What is wrong with a Redis that holds another bank than it should, or none.
pub(super) fn other_bank(found: &str, expected: &str) -> Shortfall {
    let (found, remedy) = if found.starts_with(MARK) {
        (MARKED.to_owned(), "import the file again, or an empty one to give up")
    } else if found.is_empty() {
        (
            format!("the bank {expected} is gone: redis holds none"),
            "bring its data back, or start the server anew to found another bank",
        )
    } else {
        (
            format!("redis holds the bank {found} in the place of {expected}"),
            "bring the data of the right one back, or start the server anew to join the other",
        )
    };
    Shortfall { found, remedy: remedy.to_owned(), may_pass: false, is_other_bank: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(settings: &[(&str, &str)]) -> Inspection {
        let defaults = [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
        ];
        let told = defaults.iter().chain(settings);
        Inspection {
            run_id: "a".to_owned(),
            is_primary: true,
            is_loading: false,
            bank_id: "b".to_owned(),
            time: Timestamp::UNIX_EPOCH,
            committed_at: None,
            replicas: 1,
            is_rewriting: false,
            settings: Settings::Told(
                told.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ),
        }
    }

    fn demand(level: DurabilityLevel) -> Demand {
        Demand { level, replicas: 0, check_config: true, clock_offset_max: Duration::from_secs(1) }
    }

    #[test]
    fn a_level_is_given_or_told_what_to_change() {
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
                    "\"always\" needs appendfsync always",
                    "`redis-cli CONFIG SET appendfsync always`",
                    "durability = \"everysec\"",
                ],
            ),
            (
                Always,
                &[("appendfsync", "no"), ("appendonly", "no")],
                &[
                    "has appendfsync no and appendonly no",
                    "needs appendfsync always and appendonly yes",
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
            (Always, &[("no-appendfsync-on-rewrite", "yes")], &["needs no-appendfsync-on-rewrite no"]),
            (Nothing, &[("maxmemory-policy", "allkeys-lru")], &["allkeys-lru", "noeviction"]),
        ] {
            let shortfall = demand(level).shortfall(&redis(settings), true);
            assert_eq!(shortfall.is_none(), hints.is_empty(), "{level} {settings:?}: {shortfall:?}");
            let message = shortfall.map(|shortfall| shortfall.to_string()).unwrap_or_default();
            for hint in hints {
                assert!(message.contains(hint), "{message:?} does not say {hint:?}");
            }
        }
    }

    #[test]
    fn a_file_that_may_be_written_for_the_first_time_keeps_nothing() {
        let rewriting = Inspection { is_rewriting: true, ..redis(&[]) };
        let always = demand(DurabilityLevel::Always);
        assert!(always.shortfall(&rewriting, false).is_some_and(|shortfall| shortfall.may_pass));
        assert_eq!(always.shortfall(&rewriting, true), None);
        assert_eq!(demand(DurabilityLevel::None).shortfall(&rewriting, false), None);
        let on_word = Demand { check_config: false, ..always };
        let hidden = Inspection { settings: Settings::NotAsked, ..rewriting };
        assert_eq!(on_word.shortfall(&hidden, false), None);
    }

    #[test]
    fn a_clock_does_not_go_back_behind_the_newest_commit() {
        let demand = demand(DurabilityLevel::Always);
        let committed_at = |ms| Some(Timestamp::try_from_unix_ms(ms).unwrap());
        let redis = |ms| Inspection { committed_at: committed_at(ms), ..redis(&[]) };
        assert_eq!(demand.shortfall(&redis(1_000), true), None);
        let shortfall = demand.shortfall(&redis(1_001), true).unwrap();
        assert!(!shortfall.may_pass && !shortfall.is_other_bank);
        assert!(shortfall.to_string().contains("behind 1970-01-01T00:00:01.001Z"), "{shortfall}");
    }

    #[test]
    fn replicas_count_whatever_the_level() {
        let two = Demand { replicas: 2, ..demand(DurabilityLevel::None) };
        let shortfall = two.shortfall(&redis(&[]), true).unwrap();
        assert!(shortfall.may_pass && shortfall.to_string().contains("redis has 1 replicas"), "{shortfall}");
        assert_eq!(two.shortfall(&Inspection { replicas: 3, ..redis(&[]) }, true), None);
    }

    #[test]
    fn the_promise_says_what_it_is_worth() {
        let promise = |demand: Demand| demand.promise().description;
        let always = demand(DurabilityLevel::Always);
        assert_eq!(promise(always), "what is acknowledged is on redis's disk");
        assert_eq!(
            promise(Demand { replicas: 2, ..always }),
            "what is acknowledged is on redis's disk, and 2 replicas have it in memory"
        );
        assert!(promise(Demand { check_config: false, ..always }).contains("so says the operator"));
        assert!(promise(demand(DurabilityLevel::EverySecond)).contains("two seconds"));
    }
}
