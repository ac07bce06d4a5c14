//! Hides credentials in text that people read: settings, errors, log lines.

/// What stands for what is hidden.
const HIDDEN: &str = "[redacted]";

/// The text without what may be secret in its URLs: everything before an `@`, and everything after a `?` or
/// a `#`. Where it is not clear where a password ends, more is hidden. `user:password@host` counts as a URL
/// without its scheme. A path stays as it is: keep secrets out of those.
///
/// ```
/// use bank_domain::redacted;
///
/// assert_eq!(redacted("no answer from redis://me:s3cret@db:6379/2"), "no answer from redis://[redacted]@db:6379/2");
/// assert_eq!(redacted("https://id.example.com/keys?token=s3cret"), "https://id.example.com/keys?[redacted]");
/// ```
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        redact_line(line, &mut shown);
    }
    shown
}

fn redact_line(line: &str, shown: &mut String) {
    let mut parts = line.split("://");
    redact_words(parts.next().unwrap_or_default(), shown);
    for part in parts {
        shown.push_str("://");
        let (url, rest) = part.split_at(part.find(ends_url).unwrap_or(part.len()));
        if !url.contains('@')
            && let Some((_, rest)) = rest.rsplit_once('@')
        {
            // The password may have a space or a quote in it.
            shown.push_str(HIDDEN);
            shown.push('@');
            redact_words(rest, shown);
            continue;
        }
        redact_url(url, shown);
        redact_words(rest, shown);
    }
}

/// A URL without its scheme.
fn redact_url(url: &str, shown: &mut String) {
    let place = match url.rsplit_once('@') {
        // Where the password ends is anyone's guess.
        Some((credentials, _)) if credentials.contains(['/', '?', '#', '@']) => {
            shown.push_str(HIDDEN);
            return;
        }
        Some((_, place)) => {
            shown.push_str(HIDDEN);
            shown.push('@');
            place
        }
        None => url,
    };
    match place.find(['?', '#']) {
        Some(end) => {
            shown.push_str(&place[..=end]);
            shown.push_str(HIDDEN);
        }
        None => shown.push_str(place),
    }
}

/// Text between URLs: of its words, those that look like `user:password@host` are shown without the first two.
fn redact_words(text: &str, shown: &mut String) {
    for word in text.split_inclusive(char::is_whitespace) {
        match word.rsplit_once('@') {
            Some((credentials, place)) if credentials.contains(':') && !credentials.starts_with('/') => {
                shown.push_str(HIDDEN);
                shown.push('@');
                shown.push_str(place);
            }
            _ => shown.push_str(word),
        }
    }
}

fn ends_url(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '"' | '\'' | '`' | '<' | '>')
}

#[cfg(test)]
mod tests;
