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
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (text, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://user:s3cret@host:1/2", "redis://[redacted]@host:1/2"),
            ("redis://:s3cret@host:1?a=s3cret", "redis://[redacted]@host:1?[redacted]"),
            ("redis://:s3cret@s3cret@host:1", "redis://[redacted]"),
            ("redis://:s3cret?s3cret@host:1", "redis://[redacted]"),
            ("redis://:s3cret/s3cret@host:1", "redis://[redacted]"),
            ("redis://:s3cret s3cret@host:1", "redis://[redacted]@host:1"),
            ("redis://:s3cret\"s3cret@host:1", "redis://[redacted]@host:1"),
            ("redis-sentinel://a:1?node=b:2&sentinelPassword=s3cret", "redis-sentinel://a:1?[redacted]"),
            ("redis-sentinel://a:1?node=b:2&sentinelPassword=s3@cret", "redis-sentinel://[redacted]"),
            ("https://id.example.com/keys#s3cret", "https://id.example.com/keys#[redacted]"),
            ("http://[::1]:4317/v1/traces", "http://[::1]:4317/v1/traces"),
            ("user:s3cret@host:50051", "[redacted]@host:50051"),
            ("--server=user:s3cret@host:50051", "[redacted]@host:50051"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn urls_are_found_in_any_text() {
        for (text, expected) in [
            (
                "error: unexpected argument 'redis://u:s3cret@h:1' found\n\nUsage: bank-server [OPTIONS]\n",
                "error: unexpected argument 'redis://[redacted]@h:1' found\n\nUsage: bank-server [OPTIONS]\n",
            ),
            (
                "cannot reach https://a by way of https://u:s3cret@b?c=s3cret, https://d",
                "cannot reach https://a by way of https://[redacted]@b?[redacted] https://d",
            ),
            ("a\nb://u:s3cret@c\nd@e", "a\nb://[redacted]@c\nd@e"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "/etc/bank@production.toml, line 3: no such key",
            "owner auth0|alice@example.com",
            "at 10:00 from a@b",
            "server.listen = \"[::1]:50051\"",
            "what? a # and an @",
            "é\n\n",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
