//! The settings of a client.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bank_domain::redacted;
use futures::future::try_join_all;
use http::Uri;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::{
    Error,
    client::BankClient,
    error::causes,
    retry::RetryPolicy,
    token::{TokenError, TokenSource},
};

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
///     .retry(RetryPolicy::default().attempts_max(4))
///     .connections(4)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a client is made by `connect` or `connect_lazy`"]
pub struct Builder {
    endpoint: String,
    timeout: Duration,
    retry: RetryPolicy,
    token: Option<Arc<dyn TokenSource>>,
    connect_timeout: Duration,
    connections: usize,
    keepalive: Option<Keepalive>,
    tls: Option<ClientTlsConfig>,
    token_without_tls: bool,
    user_agent: Option<String>,
}

/// HTTP/2 pings that find out about a dead connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long the connection is silent before a ping.
    pub interval: Duration,
    /// How long the answer may take before the connection counts as dead.
    pub timeout: Duration,
    /// Whether to ping even while no call is under way.
    pub while_idle: bool,
}

impl Default for Keepalive {
    /// Every 20 s while calls are under way, with 10 s to answer.
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), timeout: Duration::from_secs(10), while_idle: false }
    }
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

    /// The settings of a client for a server.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder::new(endpoint.into())
    }
}

impl Builder {
    fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            timeout: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            token: None,
            connect_timeout: Duration::from_secs(5),
            connections: 1,
            keepalive: Some(Keepalive::default()),
            tls: None,
            token_without_tls: false,
            user_agent: None,
        }
    }

    /// How long a call may take with all its repetitions, unless it says otherwise; 10 s unless set.
    /// The bank is told, and does not begin what is already too late.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How calls are repeated that failed for now.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long it may take to open a connection; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many connections to open; 1 unless set, and 0 is taken as 1. Calls take turns on them.
    ///
    /// One connection carries many calls at once. More of them let a server with several cores read
    /// more at once; it is worth it from some ten thousand calls a second.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How dead connections are found; `None` for not at all.
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.keepalive = keepalive.into();
        self
    }

    /// How the server is verified, and what the client shows for itself; see [`tls`](crate::tls). For
    /// an `https` endpoint, the roots that the system trusts unless set.
    pub fn tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The bearer token to send with every call. Without TLS it goes to this machine only, unless
    /// [`allow_token_without_tls`](Self::allow_token_without_tls) says otherwise.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.token_source(move || std::future::ready(Ok::<_, TokenError>(token.clone())))
    }

    /// Where the bearer token of each call comes from.
    pub fn token_source(mut self, source: impl TokenSource) -> Self {
        self.token = Some(Arc::new(source));
        self
    }

    /// Lets tokens go to other machines without TLS, where whoever is on the way can read and use them.
    /// Only where something else secures the way, such as a proxy beside each program.
    pub fn allow_token_without_tls(mut self) -> Self {
        self.token_without_tls = true;
        self
    }

    /// What the application calls itself to the server: `billing/2.1`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Opens the connections.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`], and [`Error::Unavailable`] if the server cannot be reached now.
    pub async fn connect(self) -> Result<BankClient, Error> {
        let endpoint = self.transport()?;
        let channels = try_join_all((0..self.connections).map(|_| endpoint.connect())).await;
        let channels = channels.map_err(|error| Error::unreachable(&self.endpoint, &error))?;
        Ok(self.client(channels))
    }

    /// A client that opens each connection at its first call. The server need not be up yet.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn connect_lazy(self) -> Result<BankClient, Error> {
        let endpoint = self.transport()?;
        let channels = (0..self.connections).map(|_| endpoint.connect_lazy()).collect::<Vec<Channel>>();
        Ok(self.client(channels))
    }

    fn client(self, channels: Vec<Channel>) -> BankClient {
        BankClient::new(self.endpoint, channels, self.timeout, self.retry, self.token)
    }

    fn transport(&self) -> Result<Endpoint, Error> {
        let invalid = |setting, value: &str, problem: &str| Error::InvalidSetting {
            setting,
            value: redacted(value),
            problem: problem.to_owned(),
        };
        let malformed = || {
            invalid(
                "endpoint",
                &self.endpoint,
                "is not the URL of a server; write it like http://127.0.0.1:50051",
            )
        };
        let uri: Uri = self.endpoint.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(malformed()),
        };
        if self.token.is_some() && !secure && !self.token_without_tls && !is_this_machine(&uri) {
            let problem = "is without TLS, and on the way to it the token could be read; write https://";
            return Err(invalid("endpoint", &self.endpoint, problem));
        }
        let user_agent = self.user_agent.iter().map(String::as_str).chain([USER_AGENT]).collect::<Vec<_>>();
        let user_agent = user_agent.join(" ");
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .user_agent(user_agent.clone())
            .map_err(|_| invalid("user agent", &user_agent, "is not visible ASCII"))?;
        if let Some(keepalive) = self.keepalive {
            endpoint = endpoint
                .http2_keep_alive_interval(keepalive.interval)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.while_idle);
        }
        match (secure, self.tls.clone()) {
            (false, None) => Ok(endpoint),
            (false, Some(_)) => {
                Err(invalid("endpoint", &self.endpoint, "is without TLS, which is set up; write https://"))
            }
            (true, tls) => endpoint
                .tls_config(tls.unwrap_or_else(|| ClientTlsConfig::new().with_native_roots()))
                .map_err(|error| invalid("tls", &self.endpoint, &causes(&error))),
        }
    }
}

fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const USER_AGENT: &str = concat!("bank-client/", env!("CARGO_PKG_VERSION"));

impl fmt::Debug for Builder {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoint", &redacted(&self.endpoint))
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
