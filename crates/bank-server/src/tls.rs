//! TLS for callers, with client certificates, and certificates that can be replaced while the server runs.
//!
//! The files are read every five seconds. New contents take effect for new connections. Unusable files are logged
//! once, and the previous ones stay in effect.

mod expiry;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::anyhow;
use bank_store::clock::Timekeeper;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};
use tokio_util::task::AbortOnDropHandle;

use self::expiry::Expiry;
use crate::{
    files::{self, Fingerprint},
    network::Peer,
    telemetry::RateLimitedLog,
};

/// The pause between two reads of the files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The options of TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The server's certificate chain, in PEM form.
    pub certificate_file: PathBuf,
    /// The private key of the certificate, in PEM form.
    pub key_file: PathBuf,
    /// Verifies client certificates; none if none are requested.
    pub client_ca: Option<ClientCa>,
    /// The oldest accepted version of the protocol.
    pub version_min: TlsVersion,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// The clock for the expiry of certificates.
    pub clock: Timekeeper,
}

impl TlsOptions {
    /// Since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration {
        Duration::from_secs(self.clock.estimate_seconds())
    }
}

/// The certificate authority of clients.
#[derive(Clone, Debug)]
pub struct ClientCa {
    /// Its certificates, in PEM form.
    pub file: PathBuf,
    /// Whether clients without a certificate are refused.
    pub required: bool,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// The current TLS configuration; cheap to clone. The files are watched as long as a clone exists.
#[derive(Clone, Debug)]
pub struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
    handshake_timeout: Duration,
    failure_log: Arc<RateLimitedLog>,
    _watching: Arc<AbortOnDropHandle<()>>,
}

impl Tls {
    /// Loads the files, and watches them from then on.
    ///
    /// # Errors
    /// If a file is unusable.
    pub async fn open(options: TlsOptions) -> anyhow::Result<Self> {
        let files = Files::read(&options).await?;
        let (config, mut expiry) = load(&options, &files)?;
        expiry.warn(options.now());
        let (sender, current) = watch::channel(Arc::new(config));
        let handshake_timeout = options.handshake_timeout;
        let watching = tokio::spawn(watch_files(options, sender, files.fingerprint(), expiry));
        let watching = Arc::new(AbortOnDropHandle::new(watching));
        Ok(Self { current, handshake_timeout, failure_log: Arc::default(), _watching: watching })
    }

    /// Does the handshake with a peer; `None` if it fails or takes too long. A peer that does not speak TLS gets an alert after
    /// its first bytes.
    pub(crate) async fn accept<Io>(&self, io: Io, peer: Peer) -> Option<TlsStream<Io>>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.borrow()));
        match timeout(self.handshake_timeout, acceptor.accept(io)).await {
            Ok(Ok(stream)) => return Some(stream),
            // A probe of the port, as load balancers send.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(%peer, "a peer left before the handshake");
            }
            Ok(Err(error)) => self.log_failure(peer, &error),
            Err(_) => self.log_failure(peer, &"it took too long"),
        }
        None
    }

    fn log_failure(&self, peer: Peer, reason: &dyn Display) {
        if let Some(handshakes) = self.failure_log.count() {
            tracing::info!(handshakes, last_peer = %peer, last_reason = %reason, "TLS handshakes failed");
        }
    }
}

/// The contents of the files.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    async fn read(options: &TlsOptions) -> anyhow::Result<Self> {
        let client_ca = match &options.client_ca {
            Some(ca) => Some(files::read(&ca.file).await?),
            None => None,
        };
        let certificate = files::read(&options.certificate_file).await?;
        Ok(Self { certificate, key: files::read(&options.key_file).await?, client_ca })
    }

    fn fingerprint(&self) -> Fingerprint {
        let Self { certificate, key, client_ca } = self;
        Fingerprint::of([certificate.as_slice(), key].into_iter().chain(client_ca.as_deref()))
    }
}

async fn watch_files(
    options: TlsOptions,
    sender: watch::Sender<Arc<ServerConfig>>,
    loaded: Fingerprint,
    mut expiry: Expiry,
) {
    let mut seen = Ok(loaded);
    loop {
        sleep(RELOAD_INTERVAL).await;
        expiry.warn(options.now());
        let files = Files::read(&options).await;
        let now = files.as_ref().map(Files::fingerprint).map_err(ToString::to_string);
        if now == seen {
            continue;
        }
        seen = now;
        match files.and_then(|files| load(&options, &files)) {
            Ok((config, of_new)) => {
                // Sessions belong to their configuration: a client whose certificate is no longer trusted cannot
                // resume one.
                sender.send_replace(Arc::new(config));
                tracing::info!(expires = %of_new, "new TLS files are in effect for new connections");
                expiry = of_new;
                expiry.warn(options.now());
            }
            Err(error) => {
                tracing::error!(
                    "the new TLS files cannot be used, the previous ones stay in effect: {error}"
                );
            }
        }
    }
}

fn load(options: &TlsOptions, files: &Files) -> anyhow::Result<(ServerConfig, Expiry)> {
    let TlsOptions { certificate_file, key_file, .. } = options;
    let certificates = certificates(certificate_file, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key);
    let key = key.map_err(|error| not_pem(key_file, "private key", Some(error)))?;

    let unusable = |error: rustls::Error| {
        anyhow!("{} cannot be used with {}: {error}", certificate_file.display(), key_file.display())
    };
    let versions: &[&SupportedProtocolVersion] = match options.version_min {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match options.client_ca.as_ref().zip(files.client_ca.as_deref()) {
        None => builder.with_no_client_auth(),
        Some((ca, contents)) => {
            let roots = Arc::new(roots(ca, contents)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if ca.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| anyhow!("{}: {error}", ca.file.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let unreadable = || unusable(rustls::CertificateError::BadEncoding.into());
    let expiry = certificates.first().and_then(Expiry::of).ok_or_else(unreadable)?;
    let mut config = builder.with_single_cert(certificates, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((config, expiry))
}

fn roots(ca: &ClientCa, contents: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca.file, contents)? {
        let added = roots.add(certificate);
        added.map_err(|error| anyhow!("{}: a certificate cannot be a root: {error}", ca.file.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path, contents: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(contents).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| not_pem(path, "certificate", Some(error)))?;
    if certificates.is_empty() { Err(not_pem(path, "certificate", None)) } else { Ok(certificates) }
}

fn not_pem(path: &Path, wanted: &str, error: Option<pem::Error>) -> anyhow::Error {
    // A file that is not in PEM form at all has no other error.
    let error = error.filter(|error| !matches!(error, pem::Error::NoItemsFound));
    let reason = error.map(|error| format!(": {error}")).unwrap_or_default();
    anyhow!("{}: contains no {wanted} in PEM form{reason}", path.display())
}
