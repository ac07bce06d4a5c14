//! The configuration, for people to read.

use bank_store::redis::RedisUrl;
use config::ValueKind;

use super::{Origin, Setting};

/// All keys in order, each value that is not a default with where it is from.
pub(super) fn toml(effective: &[Setting]) -> String {
    let mut lines = Vec::new();
    let mut current = "";
    for Setting { key, value, origin } in effective {
        let (section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if section != current {
            lines.extend((!lines.is_empty()).then(String::new));
            lines.push(format!("[{section}]"));
            current = section;
        }
        let value = shown(key.is_secret(), value);
        lines.push(match origin {
            Origin::Default => format!("{name} = {value}"),
            origin => format!("{name} = {value} # {origin}"),
        });
    }
    lines.join("\n") + "\n"
}

fn shown(secret: bool, value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if secret => toml::Value::from(redacted(text)).to_string(),
        ValueKind::String(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// A URL with a mark where it carries what is secret.
fn redacted(url: &str) -> String {
    let Some((before, after)) = url.split_once('@') else {
        // Without credentials; but any parameter may be a password.
        return url
            .split_once('?')
            .map_or_else(|| url.to_owned(), |(place, _)| format!("{place}?[redacted]"));
    };
    if before.contains('?') || after.split('?').next().is_some_and(|place| place.contains('@')) {
        // Where the password ends is anyone's guess.
        return "[redacted]".to_owned();
    }
    RedisUrl::new(url).to_string().replacen("://", "://[redacted]@", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://user:s3cret@host:1/2", "redis://[redacted]@host:1/2"),
            ("redis://:s3cret@host:1?a=s3cret", "redis://[redacted]@host:1"),
            ("redis://:s3cret@s3cret@host:1", "[redacted]"),
            ("redis://:s3cret?s3cret@host:1", "[redacted]"),
            ("redis-sentinel://a:1?node=b:2&sentinelPassword=s3cret", "redis-sentinel://a:1?[redacted]"),
            ("redis-sentinel://a:1?node=b:2&sentinelPassword=s3@cret", "[redacted]"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
