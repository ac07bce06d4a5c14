//! TLS against the real server: who is trusted, who is rejected, and certificates that change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use bank_client::{AccountType, BankClient, Error, Rejection, RetryPolicy, tls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};

use crate::support::{
    Bank, Files, Process,
    certificates::{Authority, Certified},
    until,
};

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a server reads its TLS files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// A server's files, and the flags that name them.
struct Setup {
    files: Files,
    flags: Vec<String>,
}

impl Setup {
    fn new(server: &Certified) -> Self {
        let files = Files::new();
        let mut flags = ["--store", "memory"].map(str::to_owned).to_vec();
        flags.extend(files.set("tls.certificate_file", "tls.pem"));
        flags.extend(files.set("tls.key_file", "tls.key"));
        let setup = Self { files, flags };
        setup.install(server);
        setup
    }

    fn install(&self, server: &Certified) {
        self.files.write("tls.key", &server.key);
        self.files.write("tls.pem", &server.certificate);
    }

    fn with(mut self, setting: &str) -> Self {
        self.flags.extend(["--set".to_owned(), setting.to_owned()]);
        self
    }

    fn with_client_ca(mut self, authority: &Authority) -> Self {
        self.files.write("clients.pem", authority.pem());
        self.flags.extend(self.files.set("tls.client_ca_file", "clients.pem"));
        self
    }

    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    async fn start(&self) -> Bank {
        Bank::start(&self.flags()).await
    }
}

fn trusting(authority: &Authority) -> tls::ClientTlsConfig {
    tls::ClientTlsConfig::new().ca_certificate(tls::Certificate::from_pem(authority.pem()))
}

fn showing(config: tls::ClientTlsConfig, client: &Certified) -> tls::ClientTlsConfig {
    config.identity(tls::Identity::from_pem(&client.certificate, &client.key))
}

async fn connect(bank: &Bank, config: tls::ClientTlsConfig) -> Result<BankClient, Error> {
    BankClient::builder(bank.secure_endpoint()).tls(config).retry(RetryPolicy::never()).connect().await
}

/// Makes a call. With TLS 1.3 a server rejects a certificate only after its caller has finished the handshake, so a
/// connection alone proves nothing.
async fn served(bank: &Bank, config: tls::ClientTlsConfig) -> Result<(), Error> {
    let client = connect(bank, config).await?;
    match client.account("nobody").await {
        Err(Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("nobody has an account"),
    }
}

/// Checks that the caller rejects the certificate of the server.
async fn distrusted(bank: &Bank, config: tls::ClientTlsConfig) {
    let error = served(bank, config).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

/// Checks that the server rejects the certificate of the caller, or that it has none: the connection ends without a
/// reply. Which error of the connection comes first is up to the network.
async fn rejected(bank: &Bank, config: tls::ClientTlsConfig) {
    let error = served(bank, config).await.unwrap_err();
    assert!(is_connection_error(&error), "{error:?}");
}

fn is_connection_error(error: &Error) -> bool {
    let is_own = !error.to_string().contains("invalid peer certificate");
    is_own
        && matches!(
            error,
            Error::ConnectionLost { .. } | Error::Unavailable { .. } | Error::OutcomeUnknown { .. }
        )
}

/// Checks that the server ends a handshake with this alert.
async fn alerted(bank: &Bank, config: ClientConfig, alert: &str) {
    let error = handshake(bank, &Arc::new(config)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("received fatal alert: {alert}"));
}

/// The configuration of TLS of a caller, in more detail than gRPC clients offer.
fn caller(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<&Certified>,
) -> ClientConfig {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.pem())).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(Certified { certificate: pem, key }) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate(pem)], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A handshake, up to the first bytes that the server sends over it.
async fn handshake(bank: &Bank, config: &Arc<ClientConfig>) -> std::io::Result<(HandshakeKind, Vec<u8>)> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", bank.port())).await?;
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await?;
    stream.read_u8().await?;
    let (_, session) = stream.get_ref();
    let protocol = session.alpn_protocol().unwrap_or_default().to_vec();
    Ok((session.handshake_kind().unwrap(), protocol))
}

#[tokio::test]
async fn clients_verify_the_servers_certificate() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let setup = Setup::new(&ours.server());
    let bank = setup.start().await;
    assert_eq!(bank.logged("connections use TLS").await["client_certificates"], "not requested");

    let client = connect(&bank, trusting(&ours)).await.unwrap();
    client.create_account("a", AccountType::Savings).await.unwrap();
    served(&bank, trusting(&ours)).await.unwrap();
    let error = connect(&bank, trusting(&other)).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let error = connect(&bank, trusting(&ours).domain_name("bank.example.com")).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name \"bank.example.com\""), "{error}");
    // The root certificates of the system do not include it.
    let error = BankClient::connect(bank.secure_endpoint()).await.unwrap_err();
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn speaks_http2_over_the_configured_tls_versions() {
    let authority = Authority::new("ours");
    let bank = Setup::new(&authority.server()).start().await;
    for version in [&TLS12, &TLS13] {
        let mut config = caller(&authority, &[version], None);
        let (_, protocol) = handshake(&bank, &Arc::new(config.clone())).await.unwrap();
        assert_eq!(protocol, b"h2");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        alerted(&bank, config, "NoApplicationProtocol").await;
    }
    let bank = Setup::new(&authority.server()).with("tls.version_min=1.3").start().await;
    handshake(&bank, &Arc::new(caller(&authority, &[&TLS13], None))).await.unwrap();
    alerted(&bank, caller(&authority, &[&TLS12], None), "ProtocolVersion").await;
}

#[tokio::test]
async fn accepts_only_client_certificates_of_the_configured_authority() {
    let (ours, clients, other) = (Authority::new("ours"), Authority::new("clients"), Authority::new("other"));
    let required = Setup::new(&ours.server()).with_client_ca(&clients).start().await;
    let optional = Setup::new(&ours.server())
        .with_client_ca(&clients)
        .with("tls.client_certificate_required=false")
        .start()
        .await;
    let said = required.logged("connections use TLS").await;
    assert_eq!(said["client_certificates"], "required");

    for bank in [&required, &optional] {
        served(bank, showing(trusting(&ours), &clients.client())).await.unwrap();
        // From another authority, from the server's own, and one that is not for clients.
        for wrong in [other.client(), ours.client(), clients.server()] {
            rejected(bank, showing(trusting(&ours), &wrong)).await;
        }
        // Another authority of the same name.
        rejected(bank, showing(trusting(&ours), &Authority::new("clients").client())).await;
    }
    assert!(
        required.logged("TLS handshakes failed").await["last_reason"]
            .as_str()
            .unwrap()
            .contains("certificate")
    );
    rejected(&required, trusting(&ours)).await;
    served(&optional, trusting(&ours)).await.unwrap();
}

#[tokio::test]
async fn plaintext_is_closed_at_its_first_bytes() {
    let authority = Authority::new("ours");
    // Long before the timeout of a handshake.
    let bank = Setup::new(&authority.server()).with("server.first_call_timeout_ms=600000").start().await;
    for plaintext in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"[..],
        b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n",
        &[0; 10_000],
    ] {
        let mut connection = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may close before it has read all of it.
        let _ = connection.write_all(plaintext);
        let mut answer = Vec::new();
        if let Err(error) = connection.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it leaves the connection open");
        }
        assert!(answer.len() < 20, "no more than an alert: {answer:?}");
    }
    // A client with http:// instead of https://.
    let error = BankClient::builder(bank.endpoint())
        .retry(RetryPolicy::never())
        .connect_lazy()
        .unwrap()
        .account("nobody")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. } | Error::Unavailable { .. }), "{error:?}");
    served(&bank, trusting(&authority)).await.unwrap();
}

#[tokio::test]
async fn slow_handshakes_time_out_and_delay_nobody() {
    let authority = Authority::new("ours");
    let bank = Setup::new(&authority.server()).with("server.first_call_timeout_ms=4000").start().await;
    let began_at = Instant::now();
    // Some send nothing, some begin a handshake and stop.
    let stalling: Vec<_> = (0..200)
        .map(|number| {
            let mut connection = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
            if number % 2 == 0 {
                connection.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
            }
            connection
        })
        .collect();
    for _ in 0..5 {
        served(&bank, trusting(&authority)).await.unwrap();
    }
    for mut connection in stalling {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 64];
        match connection.read(&mut answer) {
            Ok(length) => assert_eq!(length, 0, "it is closed"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert!(began_at.elapsed() >= Duration::from_secs(4), "they had the time that is set");
    served(&bank, trusting(&authority)).await.unwrap();
    assert!(bank.terminate().await.success());
}

#[tokio::test]
async fn an_unfinished_handshake_does_not_delay_shutdown() {
    let authority = Authority::new("ours");
    let setup = Setup::new(&authority.server()).with("server.first_call_timeout_ms=600000");
    let bank = setup.with("server.shutdown_grace_ms=600000").start().await;
    let _silent = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
    served(&bank, trusting(&authority)).await.unwrap();
    assert!(bank.terminate().await.success());
}

#[tokio::test]
async fn valid_new_certificates_take_effect_without_a_restart() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let setup = Setup::new(&before.server());
    let bank = setup.start().await;
    let client = connect(&bank, trusting(&before)).await.unwrap();
    client.create_account("a", AccountType::Savings).await.unwrap();

    // Half of a change: the certificate does not belong to the key. The previous files stay in use.
    let next = after.server();
    setup.files.write("tls.pem", &next.certificate);
    let error = bank.logged("the new TLS files cannot be used, the previous ones stay in effect").await;
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("tls.pem cannot be used with"), "{error}");
    served(&bank, trusting(&before)).await.unwrap();

    setup.files.write("tls.key", &next.key);
    bank.logged("new TLS files are in effect for new connections").await;
    served(&bank, trusting(&after)).await.unwrap();
    distrusted(&bank, trusting(&before)).await;
    client.account("a").await.unwrap();

    for (name, contents, said) in [
        ("tls.pem", "", "contains no certificate in PEM form"),
        (
            "tls.key",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "contains no private key",
        ),
    ] {
        setup.files.write(name, contents);
        until("the error is logged", async || bank.log().contains(said)).await;
        served(&bank, trusting(&after)).await.unwrap();
        setup.install(&next);
    }
    setup.files.remove("tls.key").unwrap();
    until("the error is logged", async || bank.log().contains("tls.key: cannot be read: No such file")).await;
    // It is logged once, and not each time the files are read.
    sleep(RELOAD_INTERVAL + Duration::from_secs(1)).await;
    assert_eq!(bank.log().matches("cannot be read").count(), 1);
    served(&bank, trusting(&after)).await.unwrap();

    // An expired certificate is used, because callers check it; the operator is warned.
    setup.install(&after.server_of_yesterday());
    assert_eq!(bank.logged("the TLS certificate has expired").await["level"], "WARN");
    distrusted(&bank, trusting(&after)).await;
    setup.install(&after.server());
    until("it serves again", async || served(&bank, trusting(&after)).await.is_ok()).await;
}

#[tokio::test]
async fn a_new_client_authority_replaces_the_previous_one() {
    let (ours, before, after) = (Authority::new("ours"), Authority::new("before"), Authority::new("after"));
    let setup = Setup::new(&ours.server()).with_client_ca(&before);
    let bank = setup.start().await;
    let (old, new) = (before.client(), after.client());
    served(&bank, showing(trusting(&ours), &old)).await.unwrap();
    rejected(&bank, showing(trusting(&ours), &new)).await;
    // Both for a time, for a change without an outage.
    setup.files.write("clients.pem", before.pem() + &after.pem());
    bank.logged("new TLS files are in effect").await;
    served(&bank, showing(trusting(&ours), &old)).await.unwrap();
    served(&bank, showing(trusting(&ours), &new)).await.unwrap();
    setup.files.write("clients.pem", after.pem());
    let is_rejected = async || {
        let result = served(&bank, showing(trusting(&ours), &old)).await;
        result.is_err_and(|error| is_connection_error(&error))
    };
    until("the old one is rejected", is_rejected).await;
    served(&bank, showing(trusting(&ours), &new)).await.unwrap();
}

/// A resumed session presents no certificate again, so it must not outlive its authority.
#[tokio::test]
async fn a_tls_session_does_not_outlive_its_client_authority() {
    let (ours, before, after) = (Authority::new("ours"), Authority::new("before"), Authority::new("after"));
    for version in [&TLS12, &TLS13] {
        let setup = Setup::new(&ours.server()).with_client_ca(&before);
        let bank = setup.start().await;
        let config = Arc::new(caller(&ours, &[version], Some(&before.client())));
        assert_eq!(handshake(&bank, &config).await.unwrap().0, HandshakeKind::Full);
        assert_eq!(handshake(&bank, &config).await.unwrap().0, HandshakeKind::Resumed);
        setup.files.write("clients.pem", after.pem());
        bank.logged("new TLS files are in effect").await;
        let error = handshake(&bank, &config).await.unwrap_err();
        let is_alert = error.to_string() == "received fatal alert: UnknownCA";
        assert!(is_alert || error.kind() == std::io::ErrorKind::ConnectionReset, "{error:?}");
    }
}

#[tokio::test]
async fn unusable_tls_files_end_the_start() {
    let authority = Authority::new("ours");
    let server = authority.server();
    for (name, contents, said) in [
        ("tls.pem", "", "contains no certificate in PEM form"),
        ("tls.pem", &*server.key, "contains no certificate in PEM form"),
        ("tls.key", &*server.certificate, "contains no private key in PEM form"),
        ("tls.key", &*authority.server().key, "keys may not be consistent"),
        ("clients.pem", "nothing", "contains no certificate in PEM form"),
    ] {
        let setup = Setup::new(&server).with_client_ca(&authority);
        setup.files.write(name, contents);
        let process = Process::start(&setup.flags());
        assert_eq!(process.wait_exit().await.code(), Some(1), "{name}: {said}");
        let log = process.log();
        assert!(log.contains("cannot set up TLS") && log.contains(name) && log.contains(said), "{log}");
    }
    let setup = Setup::new(&server);
    setup.files.remove("tls.pem").unwrap();
    let process = Process::start(&setup.flags());
    assert_eq!(process.wait_exit().await.code(), Some(1));
    assert!(process.log().contains("tls.pem: cannot be read"), "{}", process.log());
}

#[tokio::test]
async fn never_logs_a_private_key() {
    let authority = Authority::new("ours");
    let server = authority.server();
    let setup = Setup::new(&server).with("log.filter=trace");
    let bank = setup.start().await;
    served(&bank, trusting(&authority)).await.unwrap();
    setup.install(&authority.server());
    bank.logged("new TLS files are in effect").await;
    assert!(bank.terminate().await.success());
    let log = bank.log();
    let lines = server.key.lines().filter(|line| !line.starts_with("-----"));
    assert!(log.contains("TRACE") && lines.clone().count() > 0);
    for line in lines {
        assert!(!log.contains(line), "it prints its key");
    }
}
