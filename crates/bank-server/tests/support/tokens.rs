//! Callers with names: a server that asks for tokens, and tokens for it.

use bank_proto::v1::bank_service_client::BankServiceClient;
use bank_store::clock::Timekeeper;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use tempfile::NamedTempFile;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub const SECRET: &str = "this-secret-is-for-tests-and-32-bytes-long";
const HOUR_SECONDS: u64 = 60 * 60;

/// Every scope there is.
pub const ALL: &str = "bank.read bank.write bank.admin";
/// What a customer has.
pub const CUSTOMER: &str = "bank.read bank.write";

/// Issues tokens that a server with its flags takes.
pub struct Issuer {
    flags: Vec<String>,
    /// Kept for as long as servers read it.
    secret_file: NamedTempFile,
}

/// A stub whose calls carry a token.
pub type Caller = BankServiceClient<InterceptedService<Channel, Bearer>>;

/// Puts a token into calls.
#[derive(Clone)]
pub struct Bearer(String);

impl Issuer {
    pub fn new() -> Self {
        let secret_file = NamedTempFile::new().unwrap();
        std::fs::write(secret_file.path(), SECRET).unwrap();
        let settings = [
            "auth.mode=jwt".to_owned(),
            "auth.jwt.issuer=https://issuer.test".to_owned(),
            "auth.jwt.audience=bank".to_owned(),
            format!("auth.jwt.development_secret_file={}", secret_file.path().display()),
        ];
        let flags = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
        Self { flags, secret_file }
    }

    /// What a server is started with to take the tokens.
    pub fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    /// A token that is good for an hour.
    pub fn token(&self, subject: &str, scope: &str) -> String {
        self.token_for(HOUR_SECONDS, subject, scope)
    }

    /// A token that is good for so many seconds.
    pub fn token_for(&self, seconds: u64, subject: &str, scope: &str) -> String {
        let now = Timekeeper::default().estimate_seconds();
        let claims = serde_json::json!({
            "iss": "https://issuer.test",
            "aud": "bank",
            "sub": subject,
            "scope": scope,
            "exp": now + seconds,
        });
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &std::fs::read(self.secret_file.path()).unwrap());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A caller with a connection of their own.
    pub async fn caller(&self, endpoint: &str, subject: &str, scope: &str) -> Caller {
        let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
        BankServiceClient::with_interceptor(channel, Bearer(self.token(subject, scope)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}
