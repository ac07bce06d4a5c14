//! Keys that are rotated, withdrawn, unusable or out of reach.

use super::*;

#[tokio::test]
async fn accepts_a_pem_key_or_a_secret() {
    let foreign = Foreign::new();
    for (key, file, good, name) in [
        ("auth.jwt.public_key_file", "ed25519.pem", "ed25519", "EdDSA"),
        ("auth.jwt.public_key_file", "p256.pem", "p256", "ES256"),
        ("auth.jwt.public_key_file", "rsa.pem", "rsa", "RS256"),
        ("auth.jwt.development_secret_file", "secret", "hs256", "HS256"),
    ] {
        let bank = foreign.start(key, file, &[]).await;
        assert_eq!(bank.logged("callers need a token").await["keys"], name);
        let mut client = connect(&bank.endpoint()).await;
        let mut tried = 0;
        for (other, token) in foreign.tokens.iter().filter(|(name, _)| {
            ["ed25519", "p256", "rsa", "hs256", "hs256 with another secret", "alg none"]
                .contains(&name.as_str())
                || name.starts_with("hs256 signed")
        }) {
            tried += 1;
            // The secret signed this one too. The key id in it is ignored.
            let is_good =
                other == good || (good == "hs256" && other == "hs256 signed with the development secret");
            assert_eq!(call_with(&mut client, token).await.is_ok(), is_good, "{other} with {file}");
        }
        assert!(tried >= 7, "{tried}");
        let warned = bank.lines().iter().any(|line| {
            line["message"] == "tokens are signed with a shared secret: for development only"
                && line["level"] == "WARN"
        });
        assert_eq!(warned, good == "hs256");
    }
}

/// Whether a token was rejected.
fn is_invalid<T: std::fmt::Debug>(result: Result<T, Status>) -> bool {
    result.is_err_and(|status| failed(Err::<(), _>(status)).reason == "CREDENTIALS_INVALID")
}

#[tokio::test]
async fn unusable_keys_end_the_start() {
    let foreign = Foreign::new();
    let signer = Signer::new("a");
    let twice = jwks(&[&signer, &Signer::new("a")]);
    for (key, contents, said) in [
        ("jwks_file", "nonsense", "is not a JSON Web Key Set (line 1, column 1)"),
        ("jwks_file", "[]", "is not a JSON Web Key Set"),
        ("jwks_file", "{\"keys\": []}", "RSA of 2048 to 8192 bits; it is empty"),
        (
            "jwks_file",
            "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"s3cret\", \"k\": \"czNjcmV0\"}]}",
            "Ed25519, P-256 and RSA only",
        ),
        ("jwks_file", &*twice, "has two keys with the id \"a\""),
        ("public_key_file", "nonsense", "holds no public key in PEM form"),
        (
            "public_key_file",
            &fs::read_to_string(foreign.files.path("p384.pem")).unwrap(),
            "it takes Ed25519, P-256",
        ),
        (
            "public_key_file",
            &fs::read_to_string(foreign.files.path("small-rsa.pem")).unwrap(),
            "RSA of 2048 to 8192",
        ),
        ("development_secret_file", "too short\n", "holds a secret of 9 bytes; it must have at least 32"),
    ] {
        let files = Files::new();
        files.write("keys", contents);
        let set = files.set(&format!("auth.jwt.{key}"), "keys");
        let all: Vec<_> = flags().into_iter().chain(set).collect();
        let process = Process::start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(process.wait_exit().await.code(), Some(1), "{contents}");
        let log = process.log();
        let place = files.path("keys").display().to_string();
        assert!(log.contains("cannot verify tokens") && log.contains(&place), "{log}");
        assert!(log.replace('\\', "").contains(said), "{said:?} is not in: {log}");
        assert!(!log.contains("czNjcmV0") && !log.contains("too short"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_without_a_failed_call() {
    let files = Files::new();
    let mut signer = Arc::new(Signer::new("0"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.refresh_pause_ms_min=10"]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(bearing(&signer.token("alice"), savings("a"))).await.unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let current = Arc::new(RwLock::new(Arc::clone(&signer)));
    let calls: Arc<[AtomicUsize; 8]> = Arc::default();
    let mut tasks = JoinSet::new();
    for task in 0..calls.len() {
        let (mut client, done) = (connect(&bank.endpoint()).await, Arc::clone(&done));
        let (calls, current) = (Arc::clone(&calls), Arc::clone(&current));
        tasks.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                // Some tokens are new, some have been seen before.
                let signer = Arc::clone(&current.read().unwrap());
                let number = calls[task].load(Ordering::Relaxed) as u64;
                let token = signer.token_until("alice", now() + 3600 + number % 3);
                client.deposit(bearing(&token, deposit("a", 1))).await.unwrap();
                calls[task].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 1..=5 {
        // Both keys while tokens of the previous one are in use; then only the new one.
        let next = Arc::new(Signer::new(&round.to_string()));
        files.write("jwks", jwks(&[&signer, &next]));
        // At once: a token that names an unknown key causes a refresh.
        *current.write().unwrap() = Arc::clone(&next);
        let before: Vec<_> = calls.iter().map(|calls| calls.load(Ordering::Relaxed)).collect();
        let made = |calls: &AtomicUsize, before: &usize| calls.load(Ordering::Relaxed) - before;
        until("nobody uses the previous key any more", async || {
            calls.iter().zip(&before).all(|(calls, before)| made(calls, before) >= 2)
                || tasks.len() < calls.len()
        })
        .await;
        let old = signer.token("alice");
        call_with(&mut client, &old).await.unwrap();
        files.write("jwks", jwks(&[&next]));
        // Its cached verification ends with its key.
        until("the old key is withdrawn", async || is_invalid(call_with(&mut client, &old).await)).await;
        // An unknown key causes a refresh, and only after the pause the next one.
        sleep(Duration::from_millis(50)).await;
        signer = next;
    }
    done.store(true, Ordering::Relaxed);
    tasks.join_all().await;
}

#[tokio::test]
async fn a_cached_token_still_expires() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.leeway_seconds=0"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = signer.token_until("alice", now() + 5);
    call_with(&mut client, &token).await.unwrap();
    until("it has expired", async || {
        let result = call_with(&mut client, &token).await;
        result.is_err_and(|status| failed(Err::<(), _>(status)).reason == "CREDENTIALS_EXPIRED")
    })
    .await;
}

#[tokio::test]
async fn an_unusable_key_file_is_logged_once_and_the_previous_keys_stay_in_use() {
    let (files, first, second) = (Files::new(), Signer::new("first"), Signer::new("second"));
    files.write("jwks", jwks(&[&first]));
    let bank = start_on(&files, &["--set", "auth.jwt.refresh_pause_ms_min=10"]).await;
    let mut client = connect(&bank.endpoint()).await;
    call_with(&mut client, &first.token("alice")).await.unwrap();

    files.write("jwks", "{");
    let error = bank.logged("the previous keys stay in effect for now").await;
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("is not a JSON Web Key Set"), "{error}");
    call_with(&mut client, &first.token("bob")).await.unwrap();
    files.remove("jwks").unwrap();
    until("the error is logged", async || bank.log().contains("cannot be read: No such file")).await;
    call_with(&mut client, &first.token("carol")).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(bank.log().matches("the previous keys stay in effect for now").count(), 2, "once each");

    files.write("jwks", jwks(&[&first]));
    bank.logged("the keys can be read again").await;
    files.write("jwks", jwks(&[&second]));
    assert_eq!(bank.logged("new keys are in effect").await["keys"], "second (EdDSA)");
    call_with(&mut client, &second.token("alice")).await.unwrap();
    assert!(is_invalid(call_with(&mut client, &first.token("alice")).await));

    // An empty key set is taken literally: nobody is admitted.
    files.write("jwks", "{\"keys\": []}");
    assert_eq!(bank.logged("no key is left").await["level"], "ERROR");
    assert!(is_invalid(call_with(&mut client, &second.token("alice")).await));
    files.write("jwks", jwks(&[&second]));
    until("callers are admitted again", async || {
        call_with(&mut client, &second.token("alice")).await.is_ok()
    })
    .await;
}

/// The bug: a stream that was open when its key was withdrawn continued until its token expired.
#[tokio::test]
async fn streams_end_when_the_key_that_verified_their_token_is_withdrawn() {
    let (files, leaving, staying) = (Files::new(), Signer::new("leaving"), Signer::new("staying"));
    files.write("jwks", jwks(&[&leaving, &staying]));
    let bank = start_on(&files, &[]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(bearing(&staying.token("alice"), savings("a"))).await.unwrap();
    let one = || of_stream(batch([Kind::Deposit(deposit("a", 1))]));
    let mut open = Vec::new();
    for signer in [&leaving, &staying] {
        let token = signer.token("alice");
        let watch = bearing(&token, v1::WatchTransactionsRequest::default());
        let mut watch = client.watch_transactions(watch).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        let (send, batches) = mpsc::channel(1);
        let batches = bearing(&token, ReceiverStream::new(batches));
        send.send(one()).await.unwrap();
        let mut replies = client.execute_stream(batches).await.unwrap().into_inner();
        replies.message().await.unwrap().unwrap();
        open.push((watch, send, replies));
    }
    let (mut watch, send, mut replies) = open.remove(0);
    let balance = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: None };
    // A new key does not end streams.
    files.write("jwks", jwks(&[&leaving, &staying, &Signer::new("new")]));
    let names = "leaving (EdDSA), new (EdDSA), staying (EdDSA)";
    until("the new key is in effect", async || bank.log().contains(names)).await;
    send.send(one()).await.unwrap();
    replies.message().await.unwrap().unwrap();

    files.write("jwks", jwks(&[&staying]));
    let withdrawn = |result: Result<(), Status>| {
        let error = failed(result);
        assert_eq!((error.code, &*error.reason), (Code::Unauthenticated, "CREDENTIALS_INVALID"), "{error:?}");
        assert!(error.message.contains("no longer accepted"), "{error:?}");
    };
    withdrawn(replies.message().await.map(drop));
    withdrawn(loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            other => break other.map(drop),
        }
    });
    // Nothing that is sent from then on is carried out.
    let _ = send.send(one()).await;
    let (_watch, send, mut replies) = open.remove(0);
    send.send(one()).await.unwrap();
    replies.message().await.unwrap().unwrap();
    let read = client.get_balance(bearing(&staying.token("alice"), balance)).await.unwrap().into_inner();
    assert_eq!(read.balance.unwrap().minor_units, 4);
}

#[tokio::test]
async fn unconfirmed_keys_are_used_for_a_bounded_time() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.keys_unconfirmed_seconds_max=3"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = signer.token("alice");
    let watch = bearing(&token, v1::WatchTransactionsRequest::default());
    let mut watch = client.watch_transactions(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    // Confirmed keys are used for longer than that.
    sleep(Duration::from_secs(4)).await;
    call_with(&mut client, &token).await.unwrap();
    files.remove("jwks").unwrap();
    let ended = loop {
        match watch.message().await {
            // A heartbeat.
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(failed(ended).reason, "KEYS_UNAVAILABLE");
    let mut refused = None;
    until("they are too old", async || {
        refused = call_with(&mut client, &token).await.err();
        refused.is_some()
    })
    .await;
    let refused = failed(Err::<(), _>(refused.unwrap()));
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "KEYS_UNAVAILABLE"));
    assert!(refused.details.retry_info().is_some(), "{refused:?}");
    assert_eq!(bank.logged("the keys have not been confirmed for too long").await["level"], "ERROR");
    files.write("jwks", jwks(&[&signer]));
    until("it serves again", async || call_with(&mut client, &token).await.is_ok()).await;
}
