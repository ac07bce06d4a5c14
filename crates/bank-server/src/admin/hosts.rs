//! Whose requests the admin port answers: not those that a web page has a browser make.
//!
//! A page of any site can have a browser send requests to an address that only the browser reaches, such as a loopback
//! address. What such a request cannot hide is the name that the page was loaded from: in `Origin`, and, if that
//! name is made to resolve to this server (DNS rebinding), in `Host`. A name that was made up does not resolve to
//! an address by being one, so addresses are accepted, and of names those that the operator knows.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{
    HeaderMap, StatusCode, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

/// The names of this machine for itself.
const LOCAL_NAMES: [&str; 1] = ["localhost"];

/// The names that the port is reached by.
#[derive(Clone, Debug, Default)]
pub struct HostNames(Vec<String>);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl HostNames {
    /// Names besides those of this machine for itself, separated by commas; `None` if one of them is not a name.
    pub fn parse(list: &str) -> Option<Self> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| is_name(name).then(|| name.to_ascii_lowercase())).collect::<Option<_>>().map(Self)
    }

    /// Checks where a request says that it goes and comes from.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let (Some(host), None) = (host, hosts.next()) else {
            let message = "the request must have one header `host`".to_owned();
            return Err(Refused { status: StatusCode::BAD_REQUEST, message });
        };
        if let Some(unknown) = [Some(&host), uri.authority()].into_iter().flatten().find(|it| !self.knows(it))
        {
            let message = format!(
                "this port is not reached by the name {}: use an address, or add the name to admin.hosts",
                unknown.host().escape_debug()
            );
            return Err(Refused { status: StatusCode::MISDIRECTED_REQUEST, message });
        }
        let own = format!("http://{host}");
        if headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
        {
            let message = "requests of web pages are not answered".to_owned();
            return Err(Refused { status: StatusCode::FORBIDDEN, message });
        }
        Ok(())
    }

    fn knows(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok()) || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let known = LOCAL_NAMES.into_iter().chain(self.0.iter().map(String::as_str));
        // Nobody writes credentials here but somebody who wants to be misread.
        !authority.as_str().contains('@') && known.into_iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether it can be the name of a machine.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &str, uri: &str, headers: &[(&'static str, &str)]) -> Result<(), StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        HostNames::parse(names).unwrap().check(&uri.parse().unwrap(), &map).map_err(|refused| refused.status)
    }

    #[test]
    fn addresses_and_known_names_are_answered_and_others_are_not() {
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
    fn pages_of_other_origins_are_not_answered() {
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
    fn what_is_not_a_name_is_not_taken_for_one() {
        for list in ["", " ", "a", "a,b", "a-1.b_2, c"] {
            assert!(HostNames::parse(list).is_some(), "{list}");
        }
        for list in ["a b", "a:1", "*", "*.example", "http://a", "a..b", "é"] {
            assert!(HostNames::parse(list).is_none(), "{list}");
        }
    }
}
