//! Refuses requests to the admin port that a web page makes through a browser.
//!
//! A page of any site can have a browser send requests to an address that only the browser reaches, such as a loopback
//! address. Such a request shows the site's name in `Origin` and, if the name resolves to this server (DNS rebinding), in
//! `Host`. So `Host` must be an IP address or a name that the operator has configured.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{
    HeaderMap, StatusCode, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

/// The name that every machine has for itself.
const LOCAL_NAME: &str = "localhost";

/// The host names of the admin port.
#[derive(Clone, Debug, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// Names besides `localhost`, separated by commas; `None` if one of them is not a host name.
    pub fn parse(list: &str) -> Option<Self> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| is_name(name).then(|| name.to_ascii_lowercase())).collect::<Option<_>>().map(Self)
    }

    /// Checks the host and origin of a request. An error is the reply to one that is refused.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let (Some(host), None) = (host, hosts.next()) else {
            return Err((StatusCode::BAD_REQUEST, "the request must have one header `host`\n".to_owned()));
        };
        if let Some(unknown) = [Some(&host), uri.authority()].into_iter().flatten().find(|it| !self.knows(it))
        {
            let name = unknown.host().escape_debug();
            let message =
                format!("unknown host name {name}: use an address, or add the name to admin.hosts\n");
            return Err((StatusCode::MISDIRECTED_REQUEST, message));
        }
        let own = format!("http://{host}");
        if headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
        {
            return Err((StatusCode::FORBIDDEN, "requests from web pages are refused\n".to_owned()));
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
        let known = self.0.iter().map(String::as_str).chain([LOCAL_NAME]);
        // Credentials are only there to mislead.
        !authority.as_str().contains('@') && known.into_iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether it is a valid host name.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
