//! The configuration, for people to read.

use bank_domain::redacted;
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
        let value = shown(value);
        lines.push(match origin {
            Origin::Default => format!("{name} = {value}"),
            origin => format!("{name} = {value} # {origin}"),
        });
    }
    lines.join("\n") + "\n"
}

/// A URL is text of any key: whoever mistypes a setting may have put it anywhere.
fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) => toml::Value::from(redacted(text)).to_string(),
        other => other.to_string(),
    }
}
