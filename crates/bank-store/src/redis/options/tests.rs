use super::*;

#[test]
fn urls_print_without_their_passwords() {
    for (url, shown) in [
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ("redis://user:s3cret@host:1/2", "redis://[redacted]@host:1/2"),
        ("redis://:s3?cret@host:1", "redis://[redacted]"),
        ("redis-sentinel://u:s3cret@a:1?sentinelPassword=s3@cret", "redis-sentinel://[redacted]"),
    ] {
        let url = RedisUrl::new(url);
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
    }
}
