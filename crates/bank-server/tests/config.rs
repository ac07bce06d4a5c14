//! The layers of the configuration, their errors, and `config/default.toml` as its documentation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bank_server::{
    config::{self, Args, Error, Loaded, StoreKind},
    store::StoreOptions,
    telemetry::LogFormat,
};
use bank_store::{clock::Timekeeper, redis::RedisOptions};
use clap::Parser as _;
use tempfile::TempDir;

/// A directory with files to read settings from.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, Error> {
    let args = Args::try_parse_from([&["bank-server"], flags].concat()).unwrap();
    config::load(&args, variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

/// Everything that is wrong, a line for each.
fn wrong(flags: &[&str], variables: &[(&str, &str)]) -> String {
    load(flags, variables).unwrap_err().to_string()
}

fn names_in(table: &toml::Table, section: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, value)| match value {
            toml::Value::Table(table) => names_in(table, &format!("{section}{name}.")),
            _ => vec![format!("{section}{name}")],
        })
        .collect()
}

fn redis(loaded: &Loaded) -> RedisOptions {
    match loaded.config.store_options(Timekeeper::default()) {
        StoreOptions::Redis(options) => options,
        _ => panic!("another store"),
    }
}

#[test]
fn the_defaults_have_every_setting() {
    let documented: toml::Table = config::DEFAULTS.parse().unwrap();
    let documented: BTreeSet<_> = names_in(&documented, "").into_iter().collect();
    assert_eq!(documented, config::names().map(str::to_owned).collect());
}

#[test]
fn every_default_is_documented_and_in_order() {
    let mut section = "";
    let mut before = "";
    let mut keys = Vec::new();
    for line in config::DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(before.starts_with("# ") && before.ends_with('.'), "{section}.{name} has no reason");
            keys.push(format!("{section}.{name}"));
        }
        assert!(line.len() <= 110, "too long to read: {line}");
        before = line;
    }
    assert_eq!(keys, config::names().collect::<Vec<_>>());
}

/// The first sentence of the comment of each setting, in their order.
fn reasons() -> Vec<String> {
    let mut reasons = Vec::new();
    let mut comment = String::new();
    for line in config::DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment += text;
            comment.push(' ');
        } else {
            if line.contains(" = ") {
                let sentence = comment.split_once(". ").map_or(comment.trim(), |(first, _)| first);
                reasons.push(sentence.trim_end_matches('.').to_owned());
            }
            comment.clear();
        }
    }
    reasons
}

/// `docs/configuration.md`, which `BANK_RECORD=1 cargo test -p bank-server --test config` writes anew.
#[test]
fn the_documentation_has_every_setting() {
    let defaults: toml::Table = config::DEFAULTS.parse().unwrap();
    let mut table = String::from(
        "# Configuration\n\nEvery setting of `bank-server`. [`config/default.toml`](../config/default.toml) explains \
         the defaults. In the environment, `server.listen` is `BANK__SERVER__LISTEN`. A test writes and checks this \
         table.\n\n\
         | setting | default | values | meaning |\n|---|---|---|---|\n",
    );
    for (key, reason) in config::names().zip(reasons()) {
        let mut names = key.split('.');
        let first = &defaults[names.next().unwrap()];
        let default = names.fold(first, |value, name| &value[name]);
        let takes = config::allowed(key).unwrap();
        writeln!(table, "| `{key}` | `{default}` | {takes} | {reason} |").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if env::var_os("BANK_RECORD").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert_eq!(written, table, "write it anew with BANK_RECORD=1");
}

#[test]
fn numeric_settings_name_their_unit_or_bound() {
    let documented: toml::Table = config::DEFAULTS.parse().unwrap();
    let is_number = |key: &str| {
        let mut sections = key.split('.');
        let first = &documented[sections.next().unwrap()];
        sections.fold(first, |value, name| &value[name]).is_integer()
    };
    let units = ["_ms", "_ms_min", "_ms_max", "_seconds", "_bytes_min", "_bytes_max", "_max", "_percent"];
    for key in config::names().filter(|key| is_number(key)) {
        let counts = [".partitions", ".replicas"];
        assert!(units.iter().chain(&counts).any(|end| key.ends_with(end)), "{key}");
    }
}

#[test]
fn an_empty_configuration_is_valid() {
    let config = load(&[], &[]).unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.store.kind, StoreKind::Embedded);
    assert_eq!(config.embedded.path, Path::new("data/bank.redb"));
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.request_retention(), Duration::from_hours(24));
    // A caller learns that its outcome is unknown before its call is over, and a call in flight
    // is over before the server stops waiting for it.
    assert!(config.ledger_options().outcome_timeout < config.api_options().request_timeout);
    assert!(config.api_options().request_timeout < config.shutdown_grace());
    let loaded = load(&["--store", "redis"], &[]).unwrap();
    assert!(redis(&loaded).replicas_timeout < redis(&loaded).command_timeout);
    assert!(redis(&loaded).command_timeout < loaded.config.server_options().health.poll_timeout);
}

#[test]
fn each_source_of_settings_overrides_the_previous_one() {
    let files = Files::new();
    let file = files.write("bank.toml", "[log]\nlevel = \"warn\"\n[ledger]\noutcome_timeout_ms = 0x10\n");
    let level = |flags: &[&str], variables: &[(&str, &str)]| load(flags, variables).unwrap().config.log.level;
    let variable = ("BANK__LOG__LEVEL", "debug");

    assert_eq!(level(&[], &[]), "info");
    assert_eq!(level(&["--config", &file], &[]), "warn");
    assert_eq!(level(&["--config", &file], &[variable]), "debug");
    assert_eq!(level(&["--config", &file, "--log-level", "error"], &[variable]), "error");
    assert_eq!(
        level(&["--config", &file, "--log-level", "error", "--set", "log.level=trace"], &[variable]),
        "trace"
    );

    // What a layer does not mention stays as it was.
    let config = load(&["--config", &file], &[variable, ("OTHER__LOG__LEVEL", "x")]).unwrap().config;
    assert_eq!(config.ledger.outcome_timeout_ms, 16);
    assert_eq!(config.ledger.accounts_remembered_max, 100_000);
}

#[test]
fn flags_set_the_settings_they_are_named_after() {
    let config = load(
        &["--listen", "[::1]:1", "--redis-url", "redis://h:2", "--set", "store.redis.check_config=false"],
        &[],
    )
    .unwrap()
    .config;
    assert_eq!(config.server.listen.to_string(), "[::1]:1");
    assert_eq!(config.redis.url.to_string(), "redis://h:2");
    assert!(!config.redis.check_config);
    // Whoever says which Redis or which file means that, unless they say otherwise.
    assert_eq!(config.store.kind, StoreKind::Redis);
    let config = load(&["--redis-url", "redis://h:2", "--store", "memory"], &[]).unwrap().config;
    assert_eq!(config.store.kind, StoreKind::Memory);
    let variable = ("BANK__STORE__KIND", "redis");
    let config = load(&["--data", "/srv/bank.redb"], &[variable]).unwrap().config;
    assert_eq!(config.store.kind, StoreKind::Embedded);
    assert_eq!(config.embedded.path, Path::new("/srv/bank.redb"));
    assert!(Args::try_parse_from(["bank-server", "--data", "x", "--redis-url", "redis://h:2"]).is_err());
}

#[test]
fn an_unknown_setting_is_reported_with_its_source_and_a_suggestion() {
    let files = Files::new();
    let file = files.write(
        "bank.toml",
        "# A comment.\n[store.redis]\nuri = \"redis://:s3cret@h\"\n[sever]\n[log]\ncolour = true\n",
    );
    let message = wrong(
        &["--config", &file, "--set", "redis.url=x", "--set", "store=memory"],
        &[("BANK__SERVER__LISTN", "x")],
    );
    let expected = [
        format!("log.colour ({file}, line 6): unknown setting; `bank-server --print-config` lists all"),
        format!("sever ({file}, line 4): unknown setting; `bank-server --print-config` lists all"),
        format!("store.redis.uri ({file}, line 3): unknown setting; did you mean store.redis.url?"),
        "server.listn (the environment variable BANK__SERVER__LISTN): unknown setting; did you mean \
         server.listen?"
            .to_owned(),
        "redis.url (the flag --set): unknown setting; did you mean store.redis.url?".to_owned(),
        "store (the flag --set): this is a section, not a setting; `bank-server --print-config` lists its settings"
            .to_owned(),
    ];
    assert_eq!(message, expected.join("\n"));
}

#[test]
fn an_invalid_value_is_reported_with_what_is_allowed_and_its_source() {
    let files = Files::new();
    for (toml, expected) in [
        ("server.shutdown_grace_ms = 0", "= 0 (FILE, line 1): must be a whole number from 1 to 86400000"),
        ("server.shutdown_grace_ms = 1.5", "= 1.5 (FILE, line 1): must be a whole number from 1 to 86400000"),
        (
            "server.shutdown_grace_ms = \"1\"",
            "= \"1\" (FILE, line 1): must be a whole number from 1 to 86400000",
        ),
        (
            "server.shutdown_grace_ms = 99999999999999999999",
            "= 99999999999999999999 (FILE, line 1): must be a whole number from 1 to 86400000",
        ),
        (
            "server.shutdown_grace_ms = [1]",
            "= a list (FILE, line 1): must be a whole number from 1 to 86400000",
        ),
        ("server.reflection = 1", "= 1 (FILE, line 1): must be true or false"),
        (
            "server.reflection.on = true",
            "server.reflection = a section (FILE, line 1): must be true or false",
        ),
        ("store.embedded.path = \"\"", "= \"\" (FILE, line 1): must be the path of a file"),
        ("store = 1", "store (FILE, line 1): this is a section, not a setting"),
        (
            "store.kind = \"postgres\"",
            "= \"postgres\" (FILE, line 1): must be one of \"embedded\", \"memory\", \"redis\"",
        ),
        ("store.redis.url = \"s3cret\"", "= (not shown) (FILE, line 1): must be redis://"),
        (
            "store.redis.key_prefix = \"{x}\"",
            "= \"{x}\" (FILE, line 1): must be of A-Z a-z 0-9 . _ : - and not empty",
        ),
        ("bank.default_currency = \"usd\"", "must be the ISO 4217 code of a currency in force, such as USD"),
        ("bank.default_currency = \"HRK\"", "must be the ISO 4217 code of a currency in force, such as USD"),
        ("store.redis.durability = \"sometimes\"", "must be one of \"none\", \"everysec\", \"always\""),
        ("store.redis.bank_id = \"my bank\"", "must be a UUID in lower case such as 67e55044"),
        ("log.filter = \"a=b=c\"", "must be directives such as"),
        ("ledger.request_retention_seconds = 0", "must be a whole number from 60 to 31622400"),
        ("log.level = \"info", "FILE, line 1: "),
        ("log.level = \"info\"\nlog.level = \"warn\"", "FILE, line 2: duplicate key"),
        (
            "ledger.request_retention_seconds = 60\nledger.outcome_timeout_ms = 60000",
            "ledger.request_retention_seconds = 60 is less than 150, twice the sum of",
        ),
    ] {
        let file = files.write("bank.toml", toml);
        let message = wrong(&["--config", &file], &[]);
        assert!(message.contains(&expected.replace("FILE", &file)), "{toml}: {message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
    for (variable, expected) in [
        (
            ("BANK__SERVER__REFLECTION", "yes"),
            "server.reflection = \"yes\" (the environment variable \
          BANK__SERVER__REFLECTION): must be true or false",
        ),
        (("BANK__SERVER__LISTEN", "50051"), "must be an address and a port"),
        (("BANK__HEALTH__POLL_INTERVAL_MS", ""), "must be a whole number"),
    ] {
        let message = wrong(&[], &[variable]);
        assert!(message.contains(expected), "{message}");
    }
    assert!(wrong(&["--set", "log.level"], &[]).contains("write --set section.setting=value"));
    assert!(wrong(&["--listen", "localhost"], &[]).contains("(the flag --listen)"));
}

#[test]
fn a_mistyped_setting_does_not_reveal_its_password() {
    let url = "redis://user:s3cret@h:1";
    for mistyped in [
        format!("store.redis.url:{url}"),
        format!("store.redis.url {url}"),
        format!("{url}?a=b"),
        format!("store.redis={url}"),
        format!("store.redis.uri={url}"),
        format!("store.redis.url_file={url}"),
        format!("server.listen={url}"),
        format!("store.kind={url}"),
        format!("server.reflection={url}"),
        "store.redis.url=user:s3cret@h:1".to_owned(),
        "auth.jwt.jwks_url=user:s3cret@h:1".to_owned(),
        "auth.jwt.jwks_url=https://user:s3cret@h:1/keys".to_owned(),
        "auth.jwt.jwks_url=http://h:1/keys?token=s3cret".to_owned(),
        "traces.otlp_endpoint=https://user:s3cret@h:1".to_owned(),
    ] {
        let message = wrong(&["--set", &mistyped], &[]);
        assert!(!message.is_empty() && !message.contains("s3cret"), "{message}");
    }
    let message = wrong(&["--listen", url], &[("BANK__ADMIN__LISTEN", url)]);
    assert!(!message.contains("s3cret"), "{message}");
    let message = wrong(&["--config", "redis://user:s3cret@h:1/bank.toml"], &[]);
    assert!(!message.contains("s3cret") && message.contains("cannot be read"), "{message}");
}

#[test]
fn amounts_leave_room_for_whole_batches() {
    let amount = |minor_units: i64| format!("bank.amount_minor_units_max={minor_units}");
    let message = wrong(&["--set", "server.batch_operations_max=1024"], &[]);
    assert!(message.starts_with("bank.amount_minor_units_max = 9007199254740992 is too much"), "{message}");
    assert!(message.contains("at most 9079256848778919935 minor units"), "{message}");
    load(&["--set", "server.batch_operations_max=10000", "--set", &amount(1 << 49)], &[]).unwrap();
    load(&["--set", "server.batch_operations_max=1", "--set", &amount(1 << 62)], &[]).unwrap();
    // No batch is larger than the burst of calls of a caller.
    let few = ["--set", "server.batch_operations_max=10000", "--set", "callers.calls_burst_max=1000"];
    load(&few, &[]).unwrap();
    let message = wrong(&["--set", &amount(0)], &[]);
    assert!(message.contains("must be a whole number from 1 to 4611686018427387904"), "{message}");
}

#[test]
fn a_missing_configuration_file_is_an_error() {
    assert!(
        wrong(&["--config", "/nowhere/bank.toml"], &[])
            .starts_with("the configuration file /nowhere/bank.toml")
    );
}

#[test]
fn reads_the_url_from_a_file() {
    let files = Files::new();
    let url_file = files.write("url", "redis://:s3cret@from-file:1\n");
    let set = format!("store.redis.url_file={url_file}");
    let url = |flags: &[&str], variables: &[(&str, &str)]| {
        load(flags, variables).unwrap().config.redis.url.to_string()
    };
    let variable = ("BANK__STORE__REDIS__URL", "redis://from-variable:1");
    assert_eq!(url(&["--set", &set], &[]), "redis://[redacted]@from-file:1");
    // The later layer wins, and an empty one takes it back.
    assert_eq!(url(&["--set", &set], &[variable]), "redis://[redacted]@from-file:1");
    let file = files.write("bank.toml", &format!("store.redis.url_file = {url_file:?}"));
    assert_eq!(url(&["--config", &file], &[variable]), "redis://from-variable:1");
    assert_eq!(url(&["--config", &file, "--set", "store.redis.url_file="], &[]), "redis://127.0.0.1:6379");

    let message = wrong(&["--set", &set, "--redis-url", "redis://h:1"], &[]);
    assert!(message.contains("are both set"), "{message}");
    let message = wrong(&["--set", "store.redis.url_file=/nowhere/url"], &[]);
    assert!(message.contains("/nowhere/url") && message.contains("the flag --set"), "{message}");
    let broken = files.write("url", "s3cret");
    let message = wrong(&["--set", &set], &[]);
    assert!(message.contains(&broken) && !message.contains("s3cret"), "{message}");
}

#[test]
fn prints_effective_settings_as_toml_with_sources_and_without_secrets() {
    let files = Files::new();
    let file = files.write("bank.toml", "[log]\nlevel = \"warn\"\n");
    let loaded = load(
        &["--config", &file, "--redis-url", "redis://user:s3cret@h:1/2"],
        &[("BANK__LOG__FILTER", "a=\"b\""), ("BANK__SERVER__LISTEN", "[::1]:1")],
    );
    assert!(loaded.is_err(), "a filter is checked");
    let loaded = load(
        &["--config", &file, "--redis-url", "redis://user:s3cret@h:1/2"],
        &[("BANK__SERVER__LISTEN", "[::1]:1")],
    )
    .unwrap();
    let printed = loaded.to_toml();
    for line in [
        "listen = \"[::1]:1\" # the environment variable BANK__SERVER__LISTEN".to_owned(),
        "url = \"redis://[redacted]@h:1/2\" # the flag --redis-url".to_owned(),
        format!("level = \"warn\" # {file}, line 2"),
        "partitions = 1024".to_owned(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in:\n{printed}");
    }
    assert!(!printed.contains("s3cret"));
    assert!(!format!("{:?}", loaded.config).contains("s3cret"));

    // Whatever key a URL was written to.
    let loaded = load(
        &[
            "--set",
            "traces.otlp_endpoint=http://user:s3cret@collector:4317",
            "--set",
            "auth.jwt.jwks_url=https://id.example.com/keys?token=s3cret",
            "--data",
            "redis://user:s3cret@h:1",
            "--set",
            "auth.jwt.issuer=https://user:s3cret@id.example.com",
        ],
        &[],
    );
    let printed = loaded.unwrap().to_toml();
    for line in [
        "otlp_endpoint = \"http://[redacted]@collector:4317\" # the flag --set",
        "jwks_url = \"https://id.example.com/keys?[redacted]\" # the flag --set",
        "path = \"redis://[redacted]@h:1\" # the flag --data",
        "issuer = \"https://[redacted]@id.example.com\" # the flag --set",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in:\n{printed}");
    }
    assert!(!printed.contains("s3cret"));

    // The defaults print as they are written, and the output can be parsed.
    let defaults = load(&[], &[]).unwrap().to_toml();
    let documented: toml::Table = config::DEFAULTS.parse().unwrap();
    assert_eq!(defaults.parse::<toml::Table>().unwrap(), documented);
}
