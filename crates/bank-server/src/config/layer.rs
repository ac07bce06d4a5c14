//! Where values are from.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use config::{ConfigError, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::{
    Args, DEFAULTS, Error, Problem,
    keys::{KEYS, Key, Written, Wrong},
};

/// Variables that begin with this are settings; `__` stands for the dots of a key.
const VARIABLE_PREFIX: &str = "BANK__";
const URL: &str = "store.redis.url";
const URL_FILE: &str = "store.redis.url_file";

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is built in.
    Default,
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment, by its name.
    Environment(String),
    /// A flag, by its name.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => write!(f, "the flag {name}"),
        }
    }
}

/// What one layer sets, as it was written.
#[derive(Debug, Default)]
pub(super) struct Layer(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: String,
    written: Written,
    origin: Origin,
}

/// What one layer sets, after every value has been checked.
#[derive(Clone, Debug)]
pub(super) struct Checked(Vec<Setting>);

/// A value that its key takes.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static Key,
    pub(super) value: ValueKind,
    pub(super) origin: Origin,
}

impl Layer {
    pub(super) fn defaults() -> Result<Self, Error> {
        Self::toml(DEFAULTS, |_| Origin::Default)
    }

    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::toml(&text, |line| Origin::File { path: path.to_owned(), line })
    }

    pub(super) fn environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut entries: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                let key = name.strip_prefix(VARIABLE_PREFIX)?.replace("__", ".").to_lowercase();
                let written = value
                    .into_string()
                    .map_or_else(|_| Written::Other("(not UTF-8)".to_owned()), Written::Loose);
                Some(Entry { key, written, origin: Origin::Environment(name) })
            })
            .collect();
        // The environment has no order; what is reported about it has.
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Self(entries)
    }

    pub(super) fn flags(args: &Args) -> Result<Self, Error> {
        let mut layer = Self::default();
        // A server that is told which Redis or file to use, and does not, would be a surprise.
        for (flag, key, value, implied) in [
            ("--data", "store.embedded.path", args.data.as_ref(), "embedded"),
            ("--redis-url", URL, args.redis_url.as_ref(), "redis"),
        ] {
            layer.flag("store.kind", flag, value.map(|_| implied.to_owned()).as_ref());
            layer.flag(key, flag, value);
        }
        layer.flag("store.kind", "--store", args.store.as_ref());
        layer.flag("server.listen", "--listen", args.listen.as_ref());
        layer.flag("admin.listen", "--admin-listen", args.admin_listen.as_ref());
        layer.flag("log.level", "--log-level", args.log_level.as_ref());
        for assignment in &args.set {
            let Some((key, value)) = assignment.split_once('=') else {
                return Err(Error::Invalid(vec![Problem::NotAnAssignment(assignment.clone())]));
            };
            layer.flag(key, "--set", Some(&value.to_owned()));
        }
        Ok(layer)
    }

    fn flag(&mut self, key: &str, flag: &'static str, value: Option<&String>) {
        self.0.extend(value.map(|value| Entry {
            key: key.to_owned(),
            written: Written::Loose(value.clone()),
            origin: Origin::Flag(flag),
        }));
    }

    fn toml(text: &str, origin: impl Fn(usize) -> Origin) -> Result<Self, Error> {
        let at = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            origin(1 + before.filter(|byte| **byte == b'\n').count())
        };
        let table = DeTable::parse(text).map_err(|error| Error::Syntax {
            origin: at(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut layer = Self::default();
        layer.flatten(None, table.get_ref(), &at);
        Ok(layer)
    }

    fn flatten(&mut self, section: Option<&str>, table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            let key = section.map_or_else(
                || name.get_ref().to_string(),
                |section| format!("{section}.{}", name.get_ref()),
            );
            match value.get_ref() {
                DeValue::Table(table) if Key::is_section(&key) => self.flatten(Some(&key), table, at),
                value => {
                    self.0.push(Entry { key, written: written(value), origin: at(name.span().start) });
                }
            }
        }
    }

    /// Finds the keys, and holds the values against them.
    pub(super) fn check(self) -> (Checked, Vec<Problem>) {
        let mut checked = Vec::new();
        let mut problems = Vec::new();
        for Entry { key, written, origin } in self.0 {
            match Key::find(&key) {
                Some(key) => match key.read(written) {
                    Ok(value) => checked.push(Setting { key, value, origin }),
                    Err(wrong) => problems.push(wrong_value(key, wrong, origin)),
                },
                None if Key::is_section(&key) => problems.push(Problem::Section { key, origin }),
                None => {
                    let meant = Key::meant(&key);
                    problems.push(Problem::UnknownKey { key, origin, meant });
                }
            }
        }
        (Checked(checked), problems)
    }
}

/// What is in effect of all layers, in the order of the keys.
pub(super) fn effective(layers: &[Checked]) -> Vec<Setting> {
    let last = |key: &Key| layers.iter().rev().find_map(|layer| layer.get(key.name));
    KEYS.iter().filter_map(last).cloned().collect()
}

/// The URL of Redis from `store.redis.url_file`, as one more layer, if a file is set and no later
/// layer sets the URL itself.
pub(super) fn redis_url(layers: &[Checked]) -> Result<Option<Checked>, Problem> {
    let last = |name| {
        layers.iter().enumerate().rev().find_map(|(at, layer)| layer.get(name).map(|setting| (at, setting)))
    };
    let (Some((url_at, Setting { key, .. })), Some((file_at, file))) = (last(URL), last(URL_FILE)) else {
        return Ok(None);
    };
    let (ValueKind::String(path), origin) = (&file.value, &file.origin) else { return Ok(None) };
    if path.is_empty() || url_at > file_at {
        return Ok(None);
    }
    if url_at == file_at {
        return Err(Problem::Contradiction(format!("{URL} and {URL_FILE} ({origin}) are both set; set one")));
    }
    let text = fs::read_to_string(path).map_err(|error| {
        Problem::Contradiction(format!("{URL_FILE} = {path:?} ({origin}): cannot be read: {error}"))
    })?;
    let origin = Origin::File { path: path.into(), line: 1 };
    match key.read(Written::Text(text.trim().to_owned())) {
        Ok(value) => Ok(Some(Checked(vec![Setting { key, value, origin }]))),
        Err(wrong) => Err(wrong_value(key, wrong, origin)),
    }
}

impl Checked {
    fn get(&self, name: &str) -> Option<&Setting> {
        self.0.iter().rev().find(|setting| setting.key.name == name)
    }
}

impl Source for Checked {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value = |Setting { key, value, origin }: &Setting| {
            (key.name.to_owned(), Value::new(Some(&origin.to_string()), value.clone()))
        };
        Ok(self.0.iter().map(value).collect())
    }
}

fn wrong_value(key: &'static Key, wrong: Wrong, origin: Origin) -> Problem {
    Problem::WrongValue { key: key.name, found: wrong.found, origin, allowed: wrong.allowed }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Boolean(value) => Written::Flag(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Written::Other(number.as_str().to_owned()), Written::Integer),
        DeValue::Float(number) => Written::Other(number.as_str().to_owned()),
        DeValue::Datetime(time) => Written::Other(time.to_string()),
        DeValue::Array(_) => Written::Other("a list".to_owned()),
        DeValue::Table(_) => Written::Other("a section".to_owned()),
    }
}
