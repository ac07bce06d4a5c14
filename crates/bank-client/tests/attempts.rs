//! What the client sends, attempt by attempt, seen by a stand-in for the server.

#![expect(clippy::disallowed_methods, reason = "stands in for the server, which makes statuses")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test panics when it fails")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bank_client::{
    AuditFinding, AuditFindingKind, AuditNews, AuditProgress, BankClient, Builder, Currency, Error, Money,
    RetryPolicy, TokenError, TryStreamExt as _,
};
use bank_proto::v1::{self, audit_accounts_response::News, bank_service_server as server};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// What the stand-in does with a deposit.
enum Step {
    Fail(Code),
    /// Answers after this long.
    Answer(Duration),
}

/// What arrived with an attempt.
#[derive(Clone, Debug)]
struct Seen {
    request_id: String,
    headers: http::HeaderMap,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// How much time the client says there is.
    fn timeout(&self) -> Duration {
        let micros = self.header("grpc-timeout").strip_suffix('u').expect("seconds are sent as microseconds");
        Duration::from_micros(micros.parse().unwrap())
    }
}

#[derive(Clone, Default)]
struct Bank {
    steps: Arc<Mutex<VecDeque<Step>>>,
    /// Where watches were to go on.
    resumed: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Bank {
    /// A bank that does these steps, and a client of it.
    async fn start(steps: impl IntoIterator<Item = Step>) -> (Self, Builder) {
        let bank = Self { steps: Arc::new(Mutex::new(steps.into_iter().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let builder = BankClient::builder(format!("http://{}", listener.local_addr().unwrap()));
        let service = server::BankServiceServer::new(bank.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        (bank, builder)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn deposit(
        &self,
        request: Request<v1::DepositRequest>,
    ) -> Result<Response<v1::DepositResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let request = request.into_inner();
        self.seen.lock().unwrap().push(Seen { request_id: request.request_id.clone(), headers });
        let step = self.steps.lock().unwrap().pop_front().expect("no further attempt is due");
        match step {
            Step::Fail(code) => Err(Status::new(code, "scripted")),
            Step::Answer(after) => {
                tokio::time::sleep(after).await;
                Ok(Response::new(v1::DepositResponse {
                    account_id: request.account_id.clone(),
                    message: "done".into(),
                    balance: request.amount.clone(),
                    entry: Some(entry(&request.account_id, 1)),
                    replayed: false,
                }))
            }
        }
    }

    /// 25 entries, in pages of at most 10, with an empty page among them.
    #[expect(clippy::unused_async, reason = "as the other methods are")]
    async fn list(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.page_size, 10);
        let (entries, next) = match &*request.page_token {
            "" => (1..11, "b"),
            "b" => (0..0, "c"),
            "c" => (11..21, "d"),
            "d" => (21..26, ""),
            token => return Err(Status::invalid_argument(token)),
        };
        Ok(Response::new(v1::ListTransactionsResponse {
            entries: entries.map(|sequence| entry(&request.account_id, sequence)).collect(),
            next_page_token: next.into(),
        }))
    }
}

impl Bank {
    /// Begins, and goes on as the account's name says.
    fn audit(
        &self,
        request: Request<v1::AuditAccountsRequest>,
    ) -> Result<Response<BoxStream<'static, Result<v1::AuditAccountsResponse, Status>>>, Status> {
        let headers = request.metadata().clone().into_headers();
        let account_id = request.into_inner().account_id;
        self.seen.lock().unwrap().push(Seen { request_id: account_id.clone(), headers });
        let reply = |news| Ok(v1::AuditAccountsResponse { news: Some(news) });
        let progress = v1::AuditProgress { accounts_checked: 1, accounts_total: 0, entries_checked: 5 };
        let finding = v1::AuditFinding {
            kind: v1::AuditFindingKind::EntryChanged.into(),
            account_id: "1".into(),
            sequence: 5,
            message: "so".into(),
        };
        let books = v1::AuditBooks {
            currency_code: "USD".into(),
            money_in: "170141183460469231731687303715884105727".into(),
            money_out: "1".into(),
            interest: "-1".into(),
            transferred: "0".into(),
            held: "7".into(),
            balanced: false,
        };
        let summary =
            v1::AuditSummary { accounts_checked: 1, entries_checked: 5, findings: 1, books: vec![books] };
        let begin = stream::iter([reply(News::Progress(progress)), reply(News::Finding(finding))]);
        Ok(Response::new(match &*account_id {
            "" => begin.chain(stream::iter([reply(News::Summary(summary))])).boxed(),
            "cut" => begin.boxed(),
            "silent" => begin.chain(stream::pending()).boxed(),
            "failing" => begin.chain(stream::iter([Err(Status::new(Code::Unavailable, "gone"))])).boxed(),
            other => return Err(Status::new(Code::InvalidArgument, other)),
        }))
    }
}

type WatchReplies = BoxStream<'static, Result<v1::WatchTransactionsResponse, Status>>;

impl Bank {
    /// Each connection tells one entry, and ends in another way.
    fn watch(
        &self,
        request: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<WatchReplies>, Status> {
        let v1::WatchTransactionsRequest { account_id, resume_token, .. } = request.into_inner();
        self.resumed.lock().unwrap().push(resume_token.clone());
        if account_id == "away" {
            return Err(Status::new(Code::Unavailable, "it does not get there"));
        }
        let told: i64 = if resume_token.is_empty() { 0 } else { resume_token.parse().unwrap() };
        let reply = Ok(v1::WatchTransactionsResponse {
            entries: vec![entry(&account_id, told + 1)],
            resume_token: (told + 1).to_string(),
            heartbeat_interval: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
        });
        let begin = stream::iter([reply]);
        let failing = |code| stream::iter([Err(Status::new(code, "scripted"))]);
        Ok(Response::new(match told {
            0 => begin.chain(failing(Code::Unavailable)).boxed(),
            1 => begin.boxed(),
            2 => begin.chain(stream::pending()).boxed(),
            3 => begin.chain(failing(Code::DeadlineExceeded)).boxed(),
            4 => begin.chain(failing(Code::Unauthenticated)).boxed(),
            _ => failing(Code::Unauthenticated).boxed(),
        }))
    }
}

fn entry(account_id: &str, sequence: i64) -> v1::Entry {
    let zero = Some(v1::Money { currency_code: "USD".into(), minor_units: 0 });
    v1::Entry {
        transaction_id: format!("{account_id}/{sequence}"),
        account_id: account_id.into(),
        sequence,
        kind: v1::EntryKind::Deposit.into(),
        amount: zero.clone(),
        balance_after: zero,
        create_time: Some(prost_types::Timestamp::default()),
        entry_hash: "0".repeat(64),
        ..v1::Entry::default()
    }
}

/// The methods of the service: those that are scripted, and the others.
macro_rules! service {
    (scripted { $($scripted:ident => $function:ident($scripted_request:ident) -> $scripted_response:ident;)+ }
     others { $($other:ident($request:ident) -> $response:ident;)+ }) => {
        #[tonic::async_trait]
        impl server::BankService for Bank {
            $(async fn $scripted(
                &self,
                request: Request<v1::$scripted_request>,
            ) -> Result<Response<v1::$scripted_response>, Status> {
                self.$function(request).await
            })+
            $(async fn $other(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                Err(Status::new(Code::Unimplemented, "not scripted"))
            })+

            type AuditAccountsStream = BoxStream<'static, Result<v1::AuditAccountsResponse, Status>>;

            async fn audit_accounts(
                &self,
                request: Request<v1::AuditAccountsRequest>,
            ) -> Result<Response<Self::AuditAccountsStream>, Status> {
                self.audit(request)
            }

            type ExecuteStreamStream = BoxStream<'static, Result<v1::ExecuteStreamResponse, Status>>;

            async fn execute_stream(
                &self,
                _: Request<Streaming<v1::ExecuteStreamRequest>>,
            ) -> Result<Response<Self::ExecuteStreamStream>, Status> {
                Err(Status::new(Code::Unimplemented, "not scripted"))
            }

            type ExportBankStream = BoxStream<'static, Result<v1::ExportBankResponse, Status>>;

            async fn export_bank(
                &self,
                _: Request<v1::ExportBankRequest>,
            ) -> Result<Response<Self::ExportBankStream>, Status> {
                Err(Status::new(Code::Unimplemented, "not scripted"))
            }

            type ImportBankStream = BoxStream<'static, Result<v1::ImportBankResponse, Status>>;

            async fn import_bank(
                &self,
                _: Request<Streaming<v1::ImportBankRequest>>,
            ) -> Result<Response<Self::ImportBankStream>, Status> {
                Err(Status::new(Code::Unimplemented, "not scripted"))
            }

            type WatchTransactionsStream = WatchReplies;

            async fn watch_transactions(
                &self,
                request: Request<v1::WatchTransactionsRequest>,
            ) -> Result<Response<WatchReplies>, Status> {
                self.watch(request)
            }
        }
    };
}

service! {
    scripted {
        deposit => deposit(DepositRequest) -> DepositResponse;
        list_transactions => list(ListTransactionsRequest) -> ListTransactionsResponse;
    }
    others {
        create_account(CreateAccountRequest) -> CreateAccountResponse;
        get_account(GetAccountRequest) -> GetAccountResponse;
        list_accounts(ListAccountsRequest) -> ListAccountsResponse;
        get_balance(GetBalanceRequest) -> GetBalanceResponse;
        withdraw(WithdrawRequest) -> WithdrawResponse;
        transfer(TransferRequest) -> TransferResponse;
        calculate_interest(CalculateInterestRequest) -> CalculateInterestResponse;
        get_transaction(GetTransactionRequest) -> GetTransactionResponse;
        set_overdraft_limit(SetOverdraftLimitRequest) -> SetOverdraftLimitResponse;
        freeze_account(FreezeAccountRequest) -> FreezeAccountResponse;
        unfreeze_account(UnfreezeAccountRequest) -> UnfreezeAccountResponse;
        close_account(CloseAccountRequest) -> CloseAccountResponse;
        get_server_info(GetServerInfoRequest) -> GetServerInfoResponse;
        execute_batch(ExecuteBatchRequest) -> ExecuteBatchResponse;
    }
}

const TEN: Money = Money { currency: Currency::USD, minor_units: 1_000 };

fn at_once() -> Step {
    Step::Answer(Duration::ZERO)
}

#[tokio::test]
async fn every_attempt_has_the_same_request_id_and_the_remaining_time() {
    let (bank, builder) =
        Bank::start([Step::Fail(Code::Unavailable), Step::Fail(Code::Unknown), at_once(), at_once()]).await;
    let client = builder.timeout(Duration::from_mins(1)).user_agent("test/1").connect().await.unwrap();

    let receipt = client.deposit("1", TEN).await.unwrap();
    assert_eq!(receipt.balance, TEN);
    client.deposit("1", TEN).timeout(Duration::from_secs(30)).await.unwrap();

    let seen = bank.seen();
    let ids: Vec<_> = seen.iter().map(|seen| &*seen.request_id).collect();
    assert!(ids[0].len() == 36 && ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    assert_ne!(ids[2], ids[3], "another call is another request");
    let timeouts: Vec<_> = seen.iter().map(Seen::timeout).collect();
    assert!(timeouts[0] <= Duration::from_mins(1) && timeouts[0] > Duration::from_secs(30), "{timeouts:?}");
    assert!(timeouts[2] <= timeouts[1] && timeouts[1] <= timeouts[0], "{timeouts:?}");
    assert!(timeouts[3] <= Duration::from_secs(30));
    assert!(seen[0].header("user-agent").starts_with("test/1 bank-client/"));
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_request_id_of_the_caller_is_sent_unchanged() {
    let (bank, builder) = Bank::start([at_once(), at_once()]).await;
    let client = builder.connect().await.unwrap();
    let call = client.deposit("1", TEN).request_id("invoice-4711".parse().unwrap());
    call.clone().await.unwrap();
    call.await.unwrap();
    assert!(bank.seen().iter().all(|seen| seen.request_id == "invoice-4711"));
}

#[tokio::test]
async fn each_attempt_asks_for_a_token() {
    let (bank, builder) = Bank::start([Step::Fail(Code::Unavailable), at_once()]).await;
    let drawn = Arc::new(AtomicU32::new(0));
    let client = builder.token_source(move || {
        let token = format!("token-{}", drawn.fetch_add(1, Ordering::Relaxed));
        std::future::ready(Ok::<_, TokenError>(token))
    });
    client.connect().await.unwrap().deposit("1", TEN).await.unwrap();
    let tokens: Vec<_> = bank.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let (bank, builder) = Bank::start([]).await;
    let client =
        builder.token_source(|| std::future::ready(Err::<String, TokenError>("vault is sealed".into())));
    let error = client.connect().await.unwrap().deposit("1", TEN).await.unwrap_err();
    assert_eq!(error.to_string(), "no access token: vault is sealed");
    assert!(bank.seen().is_empty());
}

#[tokio::test]
async fn a_call_that_takes_too_long_leaves_its_outcome_unknown() {
    let (bank, builder) = Bank::start([Step::Answer(Duration::from_mins(1))]).await;
    let client = builder.timeout(Duration::from_secs(1)).connect().await.unwrap();
    let error = client.deposit("1", TEN).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error:?}");
    assert!(error.outcome_unknown());
    assert_eq!(error.request_id().unwrap().as_str(), bank.seen()[0].request_id);
}

#[tokio::test]
async fn dry_runs_have_no_unknown_outcome() {
    let (_bank, builder) = Bank::start([Step::Fail(Code::Unknown)]).await;
    let client = builder.retry(RetryPolicy::never()).connect().await.unwrap();
    let error = client.deposit("1", TEN).validate_only().await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn a_stream_fetches_page_after_page() {
    let (_bank, builder) = Bank::start([]).await;
    let client = builder.connections(3).connect().await.unwrap();
    let history = client.history("1").page_size(10);
    let page = history.clone().await.unwrap();
    assert_eq!((page.items.len(), page.next_page_token.as_deref()), (10, Some("b")));

    let entries: Vec<_> = history.clone().stream().try_collect().await.unwrap();
    assert!(entries.iter().map(|entry| entry.sequence).eq(1..=25));

    // An error ends it.
    let mut stream = history.page_token("lost").stream();
    assert!(matches!(stream.try_next().await, Err(Error::InvalidArgument { .. })));
    assert_eq!(stream.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn an_audit_streams_messages_up_to_its_summary() {
    let (bank, builder) = Bank::start([]).await;
    let client = builder.token("secret").connect().await.unwrap();
    let news: Vec<_> = client.audit_accounts().stream().try_collect().await.unwrap();
    let [AuditNews::Progress(progress), AuditNews::Finding(finding), AuditNews::Summary(summary)] = &news[..]
    else {
        panic!("{news:?}");
    };
    assert_eq!(*progress, AuditProgress { accounts_checked: 1, accounts_total: None, entries_checked: 5 });
    let expected = AuditFinding {
        kind: AuditFindingKind::EntryChanged,
        account_id: "1".parse().ok(),
        sequence: Some(5),
        message: "so".into(),
    };
    assert_eq!(*finding, expected);
    assert_eq!(summary.books[0].money_in.minor_units, i128::MAX);
    assert_eq!(summary.books[0].interest.to_string(), "-$0.01");

    // An audit has no deadline of its own.
    assert!(!bank.seen()[0].headers.contains_key("grpc-timeout"));
    assert_eq!(bank.seen()[0].header("authorization"), "Bearer secret");
}

#[tokio::test]
async fn an_interrupted_audit_is_an_error() {
    let (bank, builder) = Bank::start([]).await;
    let client = builder.timeout(Duration::from_secs(2)).connect().await.unwrap();
    for (account_id, count, reason) in [
        ("cut", 2, "INVALID_REPLY"),
        ("silent", 2, "DEADLINE_EXCEEDED"),
        ("failing", 2, "CONNECTION_LOST"),
        ("refused", 0, "INVALID_ARGUMENT"),
    ] {
        let mut news = client.audit_accounts().account(account_id).stream();
        for _ in 0..count {
            news.try_next().await.unwrap().unwrap();
        }
        assert_eq!(news.try_next().await.unwrap_err().reason(), reason, "{account_id}");
        assert!(news.try_next().await.unwrap().is_none(), "{account_id}: it goes on after its error");
    }
    assert_eq!(bank.seen().len(), 4, "none is repeated");
}

#[tokio::test]
async fn a_watch_continues_after_interruptions_until_a_permanent_error() {
    let (bank, builder) = Bank::start([]).await;
    let client = builder.timeout(Duration::from_millis(200)).connect().await.unwrap();
    let interruptions = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&interruptions);
    let call = client.watch("1").on_interruption(move |error| heard.lock().unwrap().push(error.reason()));
    let mut news = call.stream();
    for sequence in 1..=5 {
        let news = news.try_next().await.unwrap().unwrap();
        assert_eq!(news.entries[0].sequence, sequence);
        assert_eq!(news.resume_token.as_str(), sequence.to_string());
    }
    assert_eq!(news.try_next().await.unwrap_err().reason(), "UNAUTHENTICATED", "another token is no better");
    assert!(news.try_next().await.unwrap().is_none(), "it goes on after its error");
    let reasons =
        ["CONNECTION_LOST", "CONNECTION_LOST", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "UNAUTHENTICATED"];
    assert_eq!(*interruptions.lock().unwrap(), reasons);
    assert_eq!(*bank.resumed.lock().unwrap(), ["", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_watch_that_never_starts_gives_up_like_other_calls() {
    let (bank, builder) = Bank::start([]).await;
    let policy =
        RetryPolicy { attempts_max: 3, backoff_first: Duration::from_millis(1), ..RetryPolicy::default() };
    let client = builder.retry(policy).connect().await.unwrap();
    let error = client.watch("away").stream().try_next().await.unwrap_err();
    assert_eq!(error.reason(), "CONNECTION_LOST");
    assert_eq!(bank.resumed.lock().unwrap().len(), 3);
}
