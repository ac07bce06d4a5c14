//! Parsers of single values.

use std::{fmt::Display, str::FromStr, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// One of the names of a type.
pub(crate) fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display + Send + Sync + std::error::Error + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// `500ms`, `10s`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write it like 500ms, 10s or 2m".to_owned())
}

/// `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("write it like key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests;
