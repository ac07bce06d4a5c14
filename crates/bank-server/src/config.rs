//! The configuration: defaults, a file, the environment and flags, each overriding the one before.
//!
//! Every value is checked against the table in `settings.rs` before the layers are merged, so an error names where the
//! value was set, and all errors are reported at once. `config/default.toml` documents every setting; a test compares
//! it with the table.

mod args;
mod layer;
mod options;
mod origin;
mod settings;

use std::{ffi::OsString, path::PathBuf};

use bank_domain::redacted;
use toml::Value;

pub use self::{
    args::Args,
    settings::{
        Admin, Auth, AuthMode, Bank, Callers, Clock, Config, DEFAULTS, Embedded, Health, Jwt, Ledger, Redis,
        Server, Store, StoreKind, Tls, Watch,
    },
};
use self::{
    layer::{Assignment, Layers},
    origin::Origin,
    settings::{SETTINGS, Setting},
};

/// What is wrong with the configuration, a line each. No line has a secret in it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Error(Vec<String>);

/// A configuration, and where it is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings in effect.
    pub config: Config,
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The value of every setting, in the order of the table.
    effective: Vec<Assignment>,
}

/// The names of all settings, such as `server.listen`, in the order of `config/default.toml`.
pub fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name)
}

/// The valid values of a setting, in words; `None` if there is no such setting.
pub fn allowed(name: &str) -> Option<String> {
    Setting::find(name).map(Setting::allowed)
}

/// Reads and checks all layers.
///
/// # Errors
/// [`Error`], with everything that is wrong with the values.
pub fn load(
    args: &Args,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let file = args.config.clone().filter(|path| !path.as_os_str().is_empty());
    let layers = Layers::read(file.as_deref(), environment, args).map_err(|problem| Error(vec![problem]))?;
    if !layers.problems.is_empty() {
        return Err(Error(layers.problems));
    }
    let effective: Vec<_> = names().filter_map(|name| Some(layers.last(name)?.1.clone())).collect();
    let section = |section: &str| {
        let values = effective.iter().filter_map(|Assignment { setting, value, .. }| {
            let (of, name) = setting.name.rsplit_once('.')?;
            (of == section).then(|| (name.to_owned(), value.clone()))
        });
        values.collect()
    };
    let config = Config::from_sections(section).map_err(|error| Error(vec![error.to_string()]))?;
    let contradictions = config.contradictions();
    if contradictions.is_empty() {
        Ok(Loaded { config, file, effective })
    } else {
        Err(Error(contradictions))
    }
}

impl Loaded {
    /// The settings in effect as TOML, without secrets. Values that are not the default say where they were set.
    pub fn to_toml(&self) -> String {
        let mut lines = Vec::new();
        let mut current = "";
        for Assignment { setting, value, origin } in &self.effective {
            let (section, name) = setting.name.rsplit_once('.').unwrap_or(("", setting.name));
            if section != current {
                lines.extend((!lines.is_empty()).then(String::new));
                lines.push(format!("[{section}]"));
                current = section;
            }
            // A mistyped setting may have put a URL with a password anywhere.
            let value = value.as_str().map_or_else(|| value.clone(), |text| Value::from(redacted(text)));
            lines.push(match origin {
                Origin::Default => format!("{name} = {value}"),
                origin => format!("{name} = {value} # {origin}"),
            });
        }
        lines.join("\n") + "\n"
    }
}
