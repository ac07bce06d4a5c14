//! What the operator asked for: defaults, a file, the environment and flags, each over the one before.
//!
//! Every layer is checked on its own before they are merged, key by key, against the table in
//! `keys.rs`: so an error names the layer, and all errors are told at once. `config/default.toml` has
//! every key with its reason; a test holds it, the table of keys and the types here together.

mod access;
mod args;
mod error;
mod keys;
mod layer;
mod print;
mod sections;

use std::{ffi::OsString, path::PathBuf};

use serde::Deserialize as _;

use self::layer::{Checked, Layer, Setting};
pub use self::{
    access::{Auth, AuthMode, Jwt, Tls},
    args::Args,
    error::{Error, Problem},
    layer::Origin,
    sections::{
        Admin, Bank, Callers, Clock, Config, Durability, Embedded, Health, Ledger, Redis, Server, Store,
        StoreKind, Watch,
    },
};

/// The defaults, as they are documented and built in.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// A configuration, and where it is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in effect.
    pub config: Config,
    /// The file that it is from, if there was one.
    pub file: Option<PathBuf>,
    effective: Vec<Setting>,
}

/// The names of all keys, such as `server.listen`, in the order of `config/default.toml`.
pub fn keys() -> impl Iterator<Item = &'static str> {
    keys::KEYS.iter().map(|key| key.name)
}

/// What a key takes, in words; `None` if there is no such key.
pub fn allowed(key: &str) -> Option<String> {
    keys::Key::find(key).map(keys::Key::allowed)
}

/// Reads all layers, and checks them.
///
/// # Errors
/// [`Error`], with everything that is wrong with the values.
pub fn load(
    args: &Args,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Error> {
    let file = args.config.clone().filter(|path| !path.as_os_str().is_empty());
    let mut layers = vec![Layer::defaults()?];
    if let Some(path) = &file {
        layers.push(Layer::file(path)?);
    }
    layers.push(Layer::environment(environment));
    layers.push(Layer::flags(args)?);

    let (mut layers, mut problems) = check(layers);
    match layer::redis_url(&layers) {
        Ok(layer) => layers.extend(layer),
        Err(problem) => problems.push(problem),
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }

    let effective = layer::effective(&layers);
    let unexpected = |error: ::config::ConfigError| Error::Invalid(vec![Problem::Other(error.to_string())]);
    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(unexpected)?;
    let config = Config::deserialize(merged).map_err(unexpected)?;
    let problems = config.contradictions();
    if problems.is_empty() { Ok(Loaded { config, file, effective }) } else { Err(Error::Invalid(problems)) }
}

impl Loaded {
    /// What is in effect as TOML, each value that is not a default with where it is from.
    /// Passwords are not in it.
    pub fn to_toml(&self) -> String {
        print::toml(&self.effective)
    }
}

fn check(layers: Vec<Layer>) -> (Vec<Checked>, Vec<Problem>) {
    let mut problems = Vec::new();
    let layers = layers
        .into_iter()
        .map(|layer| {
            let (checked, mut wrong) = layer.check();
            problems.append(&mut wrong);
            checked
        })
        .collect();
    (layers, problems)
}
