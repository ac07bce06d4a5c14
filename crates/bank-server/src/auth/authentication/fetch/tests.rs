use super::*;

#[test]
fn keys_come_by_https_or_from_this_machine() {
    for (url, expected) in [
        ("https://id.example.com/.well-known/jwks.json", true),
        ("https://10.0.0.1:8443", true),
        ("http://127.0.0.1:8080/jwks", true),
        ("http://[::1]:8080/jwks", true),
        ("http://localhost/jwks", true),
        ("http://id.example.com/jwks", false),
        ("http://localhost.example.com/jwks", false),
        ("http://127.0.0.1@id.example.com/jwks", false),
        ("https://user:s3cret@id.example.com/jwks", false),
        ("ftp://127.0.0.1/jwks", false),
        ("/etc/jwks.json", false),
        ("https://", false),
        ("", false),
    ] {
        assert_eq!(is_key_url(url), expected, "{url}");
    }
}
