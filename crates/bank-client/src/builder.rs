//! The settings of a client.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bank_domain::redacted;
use futures::future::{join_all, try_join_all};
use http::Uri;
use tonic::transport::{ClientTlsConfig, Endpoint};

use crate::{
    Error,
    client::BankClient,
    error::causes,
    retry::RetryPolicy,
    servers::{Server, Servers},
    token::{TokenError, TokenSource},
};

/// How long a connection with calls in flight is silent before a ping checks whether it is alive. An idle connection is
/// not pinged: its death is noticed by the next call.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to a ping may take before the connection counts as dead.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a client; made by [`BankClient::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use bank_client::{BankClient, RetryPolicy, tls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let ca = tls::Certificate::from_pem(std::fs::read("ca.pem")?);
/// let client = BankClient::builder("https://bank.example.com:50051")
///     .tls(tls::ClientTlsConfig::new().ca_certificate(ca))
///     .token("eyJhbGciOi...")
///     .timeout(Duration::from_secs(3))
///     .retry(RetryPolicy { attempts_max: 4, ..RetryPolicy::default() })
///     .connections(4)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a client is made by `connect` or `connect_lazy`"]
pub struct Builder {
    /// Of all servers of the bank, at least one.
    endpoints: Vec<String>,
    timeout: Duration,
    retry: RetryPolicy,
    token: Option<Arc<dyn TokenSource>>,
    connect_timeout: Duration,
    connections: usize,
    tls: Option<ClientTlsConfig>,
    token_without_tls: bool,
    user_agent: Option<String>,
}

impl BankClient {
    /// Connects to a server: `http://127.0.0.1:50051`. The same as the [`builder`](Self::builder) with
    /// nothing set.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self, Error> {
        Self::builder(endpoint).connect().await
    }

    /// The settings of a client for a server, to which others of the same bank can be [added](Builder::endpoint).
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder::new(endpoint.into())
    }
}

impl Builder {
    fn new(endpoint: String) -> Self {
        Self {
            endpoints: vec![endpoint],
            timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            token: None,
            connect_timeout: Duration::from_secs(5),
            connections: 1,
            tls: None,
            token_without_tls: false,
            user_agent: None,
        }
    }

    /// Adds another server of the same bank.
    ///
    /// Servers that write to the same accounts compete for them. So the client sends all calls for an account to one
    /// server, as long as that can be reached; otherwise to the next, with the same request id. All accounts with the same
    /// id up to the first `:` share a server. Clients that are given the same URLs, in whatever order, choose alike.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// The timeout of a call with all its retries, if the call sets none; 10 s unless set. The deadline is sent to the
    /// bank, which rejects calls that arrive after it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How calls are retried after temporary failures.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The timeout for opening a connection; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The number of connections to each server; 1 unless set, and 0 is taken as 1. Calls rotate over them.
    ///
    /// One connection carries many calls at once, on one core of the server. More connections pay off from some ten
    /// thousand calls per second.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// The trusted certificate authorities and the client certificate; see [`tls`](crate::tls). An `https` endpoint
    /// uses the roots of the system unless set.
    pub fn tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The bearer token of every call. Without TLS it is sent to this machine only, unless
    /// [`allow_token_without_tls`](Self::allow_token_without_tls) is set.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.token_source(move || std::future::ready(Ok::<_, TokenError>(token.clone())))
    }

    /// The source of the bearer token of each call.
    pub fn token_source(mut self, source: impl TokenSource) -> Self {
        self.token = Some(Arc::new(source));
        self
    }

    /// Sends tokens to other machines even without TLS, where anybody on the network can read and use them. Only for
    /// networks that something else protects, such as a sidecar proxy.
    pub fn allow_token_without_tls(mut self) -> Self {
        self.token_without_tls = true;
        self
    }

    /// The user agent of the application: `billing/2.1`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Opens the connections. A server that cannot be reached now is connected to later, if another one can be reached.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`], and [`Error::Unavailable`] if no server can be reached now.
    pub async fn connect(self) -> Result<BankClient, Error> {
        let connect = async |(url, endpoint): (String, Endpoint)| match try_join_all(
            (0..self.connections).map(|_| endpoint.connect()),
        )
        .await
        {
            Ok(channels) => (Server::new(url, channels), None),
            Err(error) => {
                let error = Error::unreachable(&url, &error);
                let server = self.lazy_server(url, &endpoint);
                server.avoid();
                (server, Some(error))
            }
        };
        let (servers, errors): (Vec<_>, Vec<_>) =
            join_all(self.transports()?.into_iter().map(connect)).await.into_iter().unzip();
        match errors.into_iter().collect::<Option<Vec<_>>>().and_then(|errors| errors.into_iter().next()) {
            Some(error) => Err(error),
            None => Ok(self.client(servers)),
        }
    }

    /// A client that opens each connection at its first call. The servers need not be up yet.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn connect_lazy(self) -> Result<BankClient, Error> {
        let transports = self.transports()?;
        let servers =
            transports.into_iter().map(|(url, endpoint)| self.lazy_server(url, &endpoint)).collect();
        Ok(self.client(servers))
    }

    fn lazy_server(&self, url: String, endpoint: &Endpoint) -> Server {
        Server::new(url, (0..self.connections).map(|_| endpoint.connect_lazy()).collect())
    }

    fn client(self, servers: Vec<Server>) -> BankClient {
        BankClient::new(Servers::new(servers), self.timeout, self.retry, self.token)
    }

    fn transports(&self) -> Result<Vec<(String, Endpoint)>, Error> {
        let mut transports: Vec<(String, Endpoint)> = Vec::with_capacity(self.endpoints.len());
        for url in &self.endpoints {
            if transports.iter().any(|(other, _)| other == url) {
                return Err(invalid("endpoint", url, "is named twice"));
            }
            transports.push((url.clone(), self.transport(url)?));
        }
        Ok(transports)
    }

    fn transport(&self, url: &str) -> Result<Endpoint, Error> {
        let malformed =
            || invalid("endpoint", url, "is not the URL of a server; write it like http://127.0.0.1:50051");
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(malformed()),
        };
        if self.token.is_some() && !secure && !self.token_without_tls && !is_this_machine(&uri) {
            let problem = "is without TLS, and on the way to it the token could be read; write https://";
            return Err(invalid("endpoint", url, problem));
        }
        let user_agent = self.user_agent.iter().map(String::as_str).chain([USER_AGENT]).collect::<Vec<_>>();
        let user_agent = user_agent.join(" ");
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .user_agent(user_agent.clone())
            .map_err(|_| invalid("user agent", &user_agent, "is not visible ASCII"))?;
        match (secure, self.tls.clone()) {
            (false, None) => Ok(endpoint),
            (false, Some(_)) => {
                Err(invalid("endpoint", url, "is without TLS, which is set up; write https://"))
            }
            (true, tls) => endpoint
                .tls_config(tls.unwrap_or_else(|| ClientTlsConfig::new().with_native_roots()))
                .map_err(|error| invalid("tls", url, &causes(&error))),
        }
    }
}

fn invalid(setting: &'static str, value: &str, problem: &str) -> Error {
    Error::InvalidSetting { setting, value: redacted(value), problem: problem.to_owned() }
}

fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const USER_AGENT: &str = concat!("bank-client/", env!("CARGO_PKG_VERSION"));

impl fmt::Debug for Builder {
    /// Leaves secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoints", &self.endpoints.iter().map(|url| redacted(url)).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
