use super::*;

#[test]
fn secrets_are_not_printed() {
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
