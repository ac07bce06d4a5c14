use super::*;

#[tokio::test]
async fn invalid_settings_are_rejected_before_anything_is_sent() {
    for (builder, problem) in [
        (
            BankClient::builder("127.0.0.1:50051"),
            "endpoint \"127.0.0.1:50051\": is not the URL of a server; write it like http://127.0.0.1:50051",
        ),
        (
            BankClient::builder("localhost"),
            "endpoint \"localhost\": is not the URL of a server; write it like http://127.0.0.1:50051",
        ),
        (
            BankClient::builder("http://127.0.0.1:50051").tls(ClientTlsConfig::new()),
            "endpoint \"http://127.0.0.1:50051\": is without TLS, which is set up; write https://",
        ),
        (
            BankClient::builder("http://127.0.0.1:50051").user_agent("two\nlines"),
            concat!(
                "user agent \"two\\nlines bank-client/",
                env!("CARGO_PKG_VERSION"),
                "\": is not visible ASCII"
            ),
        ),
    ] {
        assert_eq!(builder.connect_lazy().unwrap_err().to_string(), problem);
    }
}

#[tokio::test]
async fn tokens_go_without_tls_to_this_machine_only() {
    let lazily = |endpoint: &str| BankClient::builder(endpoint).token("s3cret");
    for endpoint in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://bank.example.com"]
    {
        lazily(endpoint).connect_lazy().unwrap();
    }
    for endpoint in ["http://bank.example.com", "http://10.0.0.1:50051", "http://localhost.example.com"] {
        let error = lazily(endpoint).connect_lazy().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "endpoint {endpoint:?}: is without TLS, and on the way to it the token could be read; \
                 write https://"
            )
        );
        lazily(endpoint).allow_token_without_tls().connect_lazy().unwrap();
    }
}

#[tokio::test]
async fn passwords_in_urls_do_not_print() {
    for endpoint in ["user:s3cret@localhost:1", "ftp://user:s3cret@localhost", "http://user:s3cret@a b"] {
        let error = BankClient::builder(endpoint).connect_lazy().unwrap_err();
        assert!(!error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"), "{error}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://user:s3cret@{}", listener.local_addr().unwrap());
    drop(listener);
    let error = BankClient::connect(&endpoint).await.unwrap_err();
    assert!(error.to_string().contains("http://[redacted]@127.0.0.1:"), "{error}");
    let builder = BankClient::builder(&endpoint);
    assert!(!format!("{builder:?} {:?}", builder.clone().connect_lazy().unwrap()).contains("s3cret"));
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let error = BankClient::connect(&endpoint).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with(&format!("the bank is unavailable: cannot connect to {endpoint}: ")));
    assert!(message.contains("Connection refused"), "{message}");

    // Nothing was sent, so nothing is in doubt.
    let client = BankClient::builder(&endpoint).retry(RetryPolicy::never()).connect_lazy().unwrap();
    let error = client.close_account("1").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn tokens_do_not_print() {
    let builder = BankClient::builder("http://127.0.0.1:50051").token("s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let client = builder.connect_lazy().unwrap();
    assert!(!format!("{client:?} {:?}", client.account("1")).contains("s3cret"));
}
