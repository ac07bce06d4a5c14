use super::*;

fn check(names: &str, uri: &str, headers: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    HostNames::parse(names).unwrap().check(&uri.parse().unwrap(), &map).map_err(|(status, _)| status)
}

#[test]
fn addresses_and_configured_names_are_accepted_and_others_refused() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:9464",
        "10.1.2.3:9464",
        "[::1]:9464",
        "[fe80::1]",
        "localhost",
        "LocalHost:1",
        "localhost.:9464",
        "bank-1:9464",
        "BANK-1",
        "bank-server.bank.svc.cluster.local:9464",
    ] {
        let names = "bank-1, bank-server.bank.svc.cluster.local";
        assert_eq!(check(names, "/metrics", &[("host", host)]), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:9464",
        "127.0.0.1.evil.example",
        "127.1",
        "localhost.evil.example",
        "xlocalhost",
        "localhost@evil.example",
        "evil.example@localhost",
        "bank-1.evil.example",
    ] {
        let answer = check("bank-1", "/metrics", &[("host", host)]);
        assert_eq!(answer, Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
    }
    for hosts in
        [&[][..], &[("host", "")], &[("host", "a b")], &[("host", "localhost"), ("host", "localhost")]]
    {
        assert_eq!(check("", "/metrics", hosts), Err(StatusCode::BAD_REQUEST), "{hosts:?}");
    }
    let uri = "http://evil.example/metrics";
    assert_eq!(check("", uri, &[("host", "localhost")]), Err(StatusCode::MISDIRECTED_REQUEST));
}

#[test]
fn requests_from_other_origins_are_refused() {
    let from = |host: &str, origin: &str| check("", "/log", &[("host", host), ("origin", origin)]);
    assert_eq!(from("localhost:9464", "http://localhost:9464"), Ok(()));
    assert_eq!(from("127.0.0.1:9464", "HTTP://127.0.0.1:9464"), Ok(()));
    for origin in [
        "null",
        "",
        "http://evil.example",
        "https://localhost:9464",
        "http://localhost",
        "http://localhost:8080",
        "http://localhost:9464.evil.example",
    ] {
        assert_eq!(from("localhost:9464", origin), Err(StatusCode::FORBIDDEN), "{origin}");
    }
}

#[test]
fn invalid_host_names_are_refused() {
    for list in ["", " ", "a", "a,b", "a-1.b_2, c"] {
        assert!(HostNames::parse(list).is_some(), "{list}");
    }
    for list in ["a b", "a:1", "*", "*.example", "http://a", "a..b", "é"] {
        assert!(HostNames::parse(list).is_none(), "{list}");
    }
}
