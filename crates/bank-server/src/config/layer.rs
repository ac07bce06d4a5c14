//! Where values come from: defaults, a file, the environment and flags.

use std::{ffi::OsString, fs, mem, path::Path};

use bank_domain::redacted;
use toml::{
    Value,
    de::{DeTable, DeValue},
};

use super::{
    args::Args,
    origin::Origin,
    settings::{DEFAULTS, Setting},
};

/// The prefix of environment variables that are settings; `__` stands for the dots of a name.
const VARIABLE_PREFIX: &str = "BANK__";
const URL: &str = "store.redis.url";
const URL_FILE: &str = "store.redis.url_file";

/// A valid value of a setting.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The valid values of all layers, later ones last, and what is wrong with the others.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) assignments: Vec<Assignment>,
    pub(super) problems: Vec<String>,
}

impl Layers {
    pub(super) fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        args: &Args,
    ) -> Result<Self, String> {
        let mut layers = Self::default();
        layers.toml(DEFAULTS, |_| Origin::Default)?;
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(|error| {
                let path = redacted(&path.to_string_lossy());
                format!("the configuration file {path} cannot be read: {error}")
            })?;
            layers.toml(&text, |line| Origin::File { path: path.to_owned(), line })?;
        }
        layers.environment(environment);
        layers.flags(args);
        layers.url_file();
        Ok(layers)
    }

    /// The value in effect, and its index.
    pub(super) fn last(&self, name: &str) -> Option<(usize, &Assignment)> {
        self.assignments.iter().enumerate().rev().find(|(_, assignment)| assignment.setting.name == name)
    }

    fn toml(&mut self, text: &str, origin: impl Fn(usize) -> Origin) -> Result<(), String> {
        let at = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            origin(1 + before.filter(|byte| **byte == b'\n').count())
        };
        let table = DeTable::parse(text).map_err(|error| {
            // Without any value of the file.
            format!("{}: {}", at(error.span().map_or(0, |span| span.start)), error.message())
        })?;
        self.table("", table.get_ref(), &at);
        Ok(())
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            let name = (format!("{section}{}", name.get_ref()), at(name.span().start));
            match value.get_ref() {
                DeValue::Table(table) if Setting::is_section(&name.0) => {
                    self.table(&format!("{}.", name.0), table, at);
                }
                value => self.value(name, value),
            }
        }
    }

    fn value(&mut self, (name, origin): (String, Origin), value: &DeValue<'_>) {
        let value = match value {
            DeValue::String(text) => Ok(Value::String(text.to_string())),
            DeValue::Boolean(value) => Ok(Value::Boolean(*value)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| number.as_str().to_owned()),
            // No setting has a value of these types.
            DeValue::Float(number) => Err(number.as_str().to_owned()),
            DeValue::Datetime(time) => Err(time.to_string()),
            DeValue::Array(_) => Err("a list".to_owned()),
            DeValue::Table(_) => Err("a section".to_owned()),
        };
        self.assign(&name, origin, |_| value);
    }

    fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut settings: Vec<_> = variables
            .into_iter()
            .filter_map(|(variable, value)| {
                let variable = variable.to_string_lossy().into_owned();
                let name = variable.strip_prefix(VARIABLE_PREFIX)?.replace("__", ".").to_lowercase();
                Some((name, variable, value.into_string().map_err(|_| "(not UTF-8)".to_owned())))
            })
            .collect();
        // The environment has no order; what is reported about it has.
        settings.sort();
        for (name, variable, value) in settings {
            self.assign(&name, Origin::Environment(variable), |setting| {
                value.map(|text| setting.parse(text))
            });
        }
    }

    fn flags(&mut self, args: &Args) {
        let kind = |implied: &str| Some(implied.to_owned());
        // Naming a file or a Redis implies the store.
        for (flag, name, value) in [
            ("--data", "store.kind", args.data.as_ref().and_then(|_| kind("embedded"))),
            ("--data", "store.embedded.path", args.data.clone()),
            ("--redis-url", "store.kind", args.redis_url.as_ref().and_then(|_| kind("redis"))),
            ("--redis-url", URL, args.redis_url.clone()),
            ("--store", "store.kind", args.store.clone()),
            ("--listen", "server.listen", args.listen.clone()),
            ("--admin-listen", "admin.listen", args.admin_listen.clone()),
            ("--log-level", "log.level", args.log_level.clone()),
        ] {
            if let Some(value) = value {
                self.assign(name, Origin::Flag(flag), |setting| Ok(setting.parse(value)));
            }
        }
        for assignment in &args.set {
            match assignment.split_once('=') {
                Some((name, value)) => {
                    self.assign(name, Origin::Flag("--set"), |setting| Ok(setting.parse(value.to_owned())));
                }
                None => {
                    let written = redacted(assignment);
                    self.problems.push(format!("--set {written}: write --set section.setting=value"));
                }
            }
        }
    }

    /// Adds a value, or what is wrong with it. An `Err` is no value of any setting, as a message quotes it.
    fn assign(&mut self, name: &str, origin: Origin, value: impl FnOnce(&Setting) -> Result<Value, String>) {
        let shown = redacted(name);
        let Some(setting) = Setting::find(name) else {
            let hint = match Setting::suggest(name) {
                _ if Setting::is_section(name) => {
                    "this is a section, not a setting; `bank-server --print-config` lists its settings"
                        .to_owned()
                }
                Some(meant) => format!("unknown setting; did you mean {meant}?"),
                None => "unknown setting; `bank-server --print-config` lists all".to_owned(),
            };
            self.problems.push(format!("{shown} ({origin}): {hint}"));
            return;
        };
        let found = match value(setting) {
            Ok(value) if setting.accepts(&value) => {
                self.assignments.push(Assignment { setting, value, origin });
                return;
            }
            // It may have a password in it.
            _ if name == URL => "(not shown)".to_owned(),
            Ok(Value::String(text)) => format!("{:?}", redacted(&text)),
            Ok(value) => value.to_string(),
            Err(text) => text,
        };
        self.problems.push(format!("{name} = {found} ({origin}): must be {}", setting.allowed()));
    }

    /// Reads the URL of Redis from `store.redis.url_file`, unless a later layer sets the URL itself.
    fn url_file(&mut self) {
        let (Some((url_at, url)), Some((file_at, file))) = (self.last(URL), self.last(URL_FILE)) else {
            return;
        };
        let path = file.value.as_str().unwrap_or_default().to_owned();
        let origin = file.origin.clone();
        if path.is_empty() {
            return;
        }
        if mem::discriminant(&url.origin) == mem::discriminant(&origin) {
            self.problems.push(format!("{URL} and {URL_FILE} ({origin}) are both set; set one"));
        } else if url_at < file_at {
            match fs::read_to_string(&path) {
                Ok(url) => {
                    let origin = Origin::File { path: path.into(), line: 1 };
                    self.assign(URL, origin, |_| Ok(Value::String(url.trim().to_owned())));
                }
                Err(error) => {
                    let path = redacted(&path);
                    self.problems.push(format!("{URL_FILE} = {path:?} ({origin}): cannot be read: {error}"));
                }
            }
        }
    }
}
