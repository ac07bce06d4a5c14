//! TLS against the real server: who is trusted, who is turned away, and certificates that change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use bank_client::{AccountType, BankClient, Error, Rejection, RetryPolicy, tls};
use support::{
    Bank, Files, Process,
    certificates::{Authority, Certified},
    until,
};
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

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

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

/// Whether a caller gets an answer. With TLS 1.3 a server refuses a certificate only after its caller
/// thinks that all is well, so a connection alone proves nothing.
async fn served(bank: &Bank, config: tls::ClientTlsConfig) -> Result<(), Error> {
    let client = connect(bank, config).await?;
    match client.account("nobody").await {
        Err(Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("nobody has an account"),
    }
}

/// What a caller sets TLS up with, in finer detail than gRPC clients let it.
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
async fn callers_who_trust_the_servers_authority_are_served_and_others_leave() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let setup = Setup::new(&ours.server());
    let bank = setup.start().await;
    assert_eq!(bank.said("connections use TLS").await["client_certificates"], "not requested");

    let client = connect(&bank, trusting(&ours)).await.unwrap();
    client.create_account("a", AccountType::Savings).await.unwrap();
    served(&bank, trusting(&ours)).await.unwrap();
    let error = connect(&bank, trusting(&other)).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let error = connect(&bank, trusting(&ours).domain_name("bank.example.com")).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name \"bank.example.com\""), "{error}");
    // The roots that the system trusts know nothing of it.
    let error = BankClient::connect(bank.secure_endpoint()).await.unwrap_err();
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn it_speaks_http2_over_tls_1_2_and_1_3_or_only_the_newer() {
    let authority = Authority::new("ours");
    let bank = Setup::new(&authority.server()).start().await;
    for version in [&TLS12, &TLS13] {
        let mut config = caller(&authority, &[version], None);
        let (_, protocol) = handshake(&bank, &Arc::new(config.clone())).await.unwrap();
        assert_eq!(protocol, b"h2");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        handshake(&bank, &Arc::new(config)).await.unwrap_err();
    }
    let bank = Setup::new(&authority.server()).with("tls.version_min=1.3").start().await;
    handshake(&bank, &Arc::new(caller(&authority, &[&TLS13], None))).await.unwrap();
    handshake(&bank, &Arc::new(caller(&authority, &[&TLS12], None))).await.unwrap_err();
}

#[tokio::test]
async fn a_caller_shows_a_certificate_of_the_right_authority() {
    let (ours, clients, other) = (Authority::new("ours"), Authority::new("clients"), Authority::new("other"));
    let required = Setup::new(&ours.server()).with_client_ca(&clients).start().await;
    let optional = Setup::new(&ours.server())
        .with_client_ca(&clients)
        .with("tls.client_certificate_required=false")
        .start()
        .await;
    let said = required.said("connections use TLS").await;
    assert_eq!(said["client_certificates"], "required");

    for bank in [&required, &optional] {
        served(bank, showing(trusting(&ours), &clients.client())).await.unwrap();
        // From another authority, from the server's own, and one that is not for callers.
        for wrong in [other.client(), ours.client(), clients.server()] {
            served(bank, showing(trusting(&ours), &wrong)).await.unwrap_err();
        }
        // Another authority that goes by the same name.
        served(bank, showing(trusting(&ours), &Authority::new("clients").client())).await.unwrap_err();
    }
    assert!(
        required.said("TLS handshakes failed").await["last_reason"].as_str().unwrap().contains("certificate")
    );
    served(&required, trusting(&ours)).await.unwrap_err();
    served(&optional, trusting(&ours)).await.unwrap();
}

#[tokio::test]
async fn plaintext_is_turned_away_at_its_first_bytes() {
    let authority = Authority::new("ours");
    // Long before the time that a handshake may take.
    let bank = Setup::new(&authority.server()).with("server.first_call_timeout_ms=600000").start().await;
    for plaintext in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"[..],
        b"GET / HTTP/1.1\r\nHost: bank\r\n\r\n",
        &[0; 10_000],
    ] {
        let mut connection = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may close before it has taken all of it.
        let _ = connection.write_all(plaintext);
        let mut answer = Vec::new();
        if let Err(error) = connection.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it leaves the connection open");
        }
        assert!(answer.len() < 20, "no more than an alert: {answer:?}");
    }
    // A client of the bank that forgot the s.
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
async fn slow_handshakes_end_in_time_and_hold_up_nobody() {
    let authority = Authority::new("ours");
    let bank = Setup::new(&authority.server()).with("server.first_call_timeout_ms=4000").start().await;
    let began_at = Instant::now();
    // Some say nothing, some begin and go silent.
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
async fn a_handshake_under_way_does_not_keep_the_server_from_ending() {
    let authority = Authority::new("ours");
    let setup = Setup::new(&authority.server()).with("server.first_call_timeout_ms=600000");
    let bank = setup.with("server.shutdown_grace_ms=600000").start().await;
    let _silent = TcpStream::connect(("127.0.0.1", bank.port())).unwrap();
    served(&bank, trusting(&authority)).await.unwrap();
    assert!(bank.terminate().await.success());
}

#[tokio::test]
async fn new_certificates_are_in_effect_without_a_restart_and_bad_ones_never() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let setup = Setup::new(&before.server());
    let bank = setup.start().await;
    let client = connect(&bank, trusting(&before)).await.unwrap();
    client.create_account("a", AccountType::Savings).await.unwrap();

    // Half of a change: the certificate does not belong to the key. What was there stays in effect.
    let next = after.server();
    setup.files.write("tls.pem", &next.certificate);
    let error = bank.said("the new TLS files cannot be used, the previous ones stay in effect").await;
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("tls.pem cannot be used with"), "{error}");
    served(&bank, trusting(&before)).await.unwrap();

    setup.files.write("tls.key", &next.key);
    bank.said("new TLS files are in effect for new connections").await;
    served(&bank, trusting(&after)).await.unwrap();
    served(&bank, trusting(&before)).await.unwrap_err();
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
        until("the error is told", async || bank.log().contains(said)).await;
        served(&bank, trusting(&after)).await.unwrap();
        setup.install(&next);
    }
    setup.files.remove("tls.key").unwrap();
    until("it is told", async || bank.log().contains("tls.key: cannot be read: No such file")).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(bank.log().matches("cannot be read").count(), 1, "once, not at every look");
    served(&bank, trusting(&after)).await.unwrap();

    // One whose time is over is a certificate all the same; callers see to it, so the operator is told.
    setup.install(&after.server_of_yesterday());
    assert_eq!(bank.said("the TLS certificate has expired").await["level"], "WARN");
    served(&bank, trusting(&after)).await.unwrap_err();
    setup.install(&after.server());
    until("it serves again", async || served(&bank, trusting(&after)).await.is_ok()).await;
}

#[tokio::test]
async fn a_new_authority_for_callers_takes_the_place_of_the_one_before() {
    let (ours, before, after) = (Authority::new("ours"), Authority::new("before"), Authority::new("after"));
    let setup = Setup::new(&ours.server()).with_client_ca(&before);
    let bank = setup.start().await;
    let (old, new) = (before.client(), after.client());
    served(&bank, showing(trusting(&ours), &old)).await.unwrap();
    served(&bank, showing(trusting(&ours), &new)).await.unwrap_err();
    // For a time both, as a change without an outage needs it.
    setup.files.write("clients.pem", before.pem() + &after.pem());
    bank.said("new TLS files are in effect").await;
    served(&bank, showing(trusting(&ours), &old)).await.unwrap();
    served(&bank, showing(trusting(&ours), &new)).await.unwrap();
    setup.files.write("clients.pem", after.pem());
    until("the old one is gone", async || served(&bank, showing(trusting(&ours), &old)).await.is_err()).await;
    served(&bank, showing(trusting(&ours), &new)).await.unwrap();
}

/// A session that is resumed shows no certificate again: it must not outlast the authority.
#[tokio::test]
async fn a_session_does_not_outlast_the_authority_that_it_was_made_under() {
    let (ours, before, after) = (Authority::new("ours"), Authority::new("before"), Authority::new("after"));
    for version in [&TLS12, &TLS13] {
        let setup = Setup::new(&ours.server()).with_client_ca(&before);
        let bank = setup.start().await;
        let config = Arc::new(caller(&ours, &[version], Some(&before.client())));
        assert_eq!(handshake(&bank, &config).await.unwrap().0, HandshakeKind::Full);
        assert_eq!(handshake(&bank, &config).await.unwrap().0, HandshakeKind::Resumed);
        setup.files.write("clients.pem", after.pem());
        bank.said("new TLS files are in effect").await;
        handshake(&bank, &config).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_cannot_be_used_ends_it_at_start() {
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
async fn a_key_is_never_printed() {
    let authority = Authority::new("ours");
    let server = authority.server();
    let setup = Setup::new(&server).with("log.filter=trace");
    let bank = setup.start().await;
    served(&bank, trusting(&authority)).await.unwrap();
    setup.install(&authority.server());
    bank.said("new TLS files are in effect").await;
    assert!(bank.terminate().await.success());
    let log = bank.log();
    let lines = server.key.lines().filter(|line| !line.starts_with("-----"));
    assert!(log.contains("TRACE") && lines.clone().count() > 0);
    for line in lines {
        assert!(!log.contains(line), "it prints its key");
    }
}
