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
    endpoint: String,
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
            tls: None,
            token_without_tls: false,
            user_agent: None,
        }
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

    /// The number of connections; 1 unless set, and 0 is taken as 1. Calls rotate over them.
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
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .user_agent(user_agent.clone())
            .map_err(|_| invalid("user agent", &user_agent, "is not visible ASCII"))?;
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
    /// Leaves secrets out.
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
