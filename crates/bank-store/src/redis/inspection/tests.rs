use super::*;

#[test]
fn unsupported_servers_are_refused_with_what_they_are() {
    const RUN: &str = "run_id:a5e7a08f16491b5166ce1613196da5f42430b999\r\n";
    for (info, hints) in [
        (format!("redis_version:7.0.15\r\nredis_mode:standalone\r\ngcc_version:12.2.0\r\n{RUN}"), &[][..]),
        (format!("redis_version:8.2.3\r\nredis_mode:standalone\r\n{RUN}"), &[]),
        (
            format!(
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n\
                 server_mode:standalone\r\n{RUN}"
            ),
            &[],
        ),
        (
            format!("redis_version:7.0.15\r\nredis_mode:cluster\r\n{RUN}"),
            &["Redis Cluster", "redis-cluster://a:1"],
        ),
        (
            format!("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nserver_mode:cluster\r\n{RUN}"),
            &["Cluster"],
        ),
        (
            format!("redis_version:8.2.3\r\nredis_mode:sentinel\r\n{RUN}"),
            &["redis-sentinel://a:1?sentinelServiceName"],
        ),
        (format!("redis_version:7.2.4\r\nserver_mode:sentinel\r\n{RUN}"), &["is a Sentinel"]),
        (format!("redis_version:6.2.14\r\nredis_mode:standalone\r\n{RUN}"), &["6.2.14", "7.0"]),
        ("redis_version:7.4.0\r\nredis_mode:standalone\r\n".to_owned(), &["run_id"]),
        (
            "redis_version:7.4.0\r\nlikeness_version:v1.21.2\r\nredis_mode:standalone\r\nrun_id:\r\n"
                .to_owned(),
            &["run_id", "Valkey"],
        ),
        (String::new(), &["version unknown"]),
    ] {
        let result = Info(info.clone()).require_supported_at("a:1", false);
        assert_eq!(result.is_ok(), hints.is_empty(), "{info}: {result:?}");
        let message = result.err().map(|error| error.to_string()).unwrap_or_default();
        for hint in hints {
            assert!(message.contains(hint), "{message:?} does not say {hint:?}");
        }
    }
}

#[test]
fn info_is_parsed() {
    let info = Info(
        "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
         slave0:ip=127.0.0.1,port=1,state=online,offset=14,lag=0\r\n\
         slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n\
         slave2:ip=127.0.0.1,port=3,state=online,offset=14,lag=1\r\n\
         slave_read_only:1\r\nloading:0\r\nasync_loading:1\r\n"
            .to_owned(),
    );
    assert_eq!((info.value("role"), info.value("rol"), info.replicas()), (Some("master"), None, 2));
    assert_eq!((info.flag("loading"), info.flag("async_loading"), info.flag("none")), (false, true, false));
}
