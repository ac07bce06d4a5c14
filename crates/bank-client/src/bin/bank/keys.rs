//! `bank keygen` and `bank token`: keys, and tokens signed with them (RFC 7519).

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::{
    digest, hmac,
    rand::{SecureRandom as _, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Serialize;
use serde_json::json;

use crate::{
    args,
    connect::read,
    failure::{Failure, Unusable},
    files,
    json::Json,
    output::Output,
    text::Text,
};

/// What comes before the 32 bytes of an Ed25519 key in PKCS #8, version 1, which everything reads.
/// <https://datatracker.ietf.org/doc/html/rfc8410#section-7>
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;
/// As much as its hash has. A server refuses less.
const SECRET_BYTES_MIN: usize = 32;

/// What `bank keygen` has made.
struct MadeKey<'a> {
    key_id: &'a str,
    signing_key_file: PathBuf,
    jwks_file: PathBuf,
}

/// What `bank token` has made.
struct IssuedToken {
    token: String,
    expires_at: u64,
}

/// What tokens are signed with.
enum Signer {
    Key(Ed25519KeyPair),
    Secret(hmac::Key),
}

pub(crate) fn keygen(args: &args::Keygen, output: &mut Output) -> Result<(), Failure> {
    let signing_key_file = with_ending(&args.name, ".pem");
    let jwks_file = with_ending(&args.name, ".jwks.json");
    if args.keep && signing_key_file.exists() && jwks_file.exists() {
        output.note("the key is there already, and is kept");
        return Ok(());
    }
    let (seed, key) = make_key().ok_or(Failure::NoRandomness)?;
    let (id, x) = (key_id(&key), BASE64_URL_SAFE_NO_PAD.encode(key.public_key()));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x});
    let der = BASE64_STANDARD.encode([PKCS8_PREFIX.as_slice(), &seed].concat());
    let made = MadeKey { key_id: &id, signing_key_file, jwks_file };

    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let jwks = format!("{:#}\n", json!({"keys": [jwk]}));
    files::write(&made.signing_key_file, files::PRIVATE, pem.as_bytes())?;
    files::write(&made.jwks_file, files::PUBLIC, jwks.as_bytes()).inspect_err(|_| {
        // A key without its key set is of no use, and in the way of the next try.
        let _ = fs::remove_file(&made.signing_key_file);
    })?;
    let text = [
        format!("{}: the private key; whoever has it can issue tokens", made.signing_key_file.display()),
        format!("{}: the key set for the server, with the key {id}", made.jwks_file.display()),
    ];
    output.result(&made, Text::stack(text.map(Text::from)));
    Ok(())
}

pub(crate) fn token(args: &args::Token, output: &mut Output) -> Result<(), Failure> {
    let signer = match (&args.signing_key, &args.secret_file) {
        (Some(path), _) => Signer::Key(signing_key(path)?),
        (None, Some(path)) => Signer::Secret(secret(path)?),
        (None, None) => return Err(Failure::Incomplete { given: "`bank token`", missing: "--signing-key" }),
    };
    #[expect(clippy::disallowed_methods, reason = "a token is good from now on, by this machine's clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires_at = now.saturating_add(args.expires_in).as_secs();
    let header = match &signer {
        Signer::Key(key) => json!({"alg": "EdDSA", "typ": "JWT", "kid": key_id(key)}),
        Signer::Secret(_) => json!({"alg": "HS256", "typ": "JWT"}),
    };
    let claims = json!({
        "iss": args.issuer,
        "aud": args.audience,
        "sub": args.subject,
        "scope": args.scopes.join(" "),
        "iat": now.as_secs(),
        "exp": expires_at,
    });
    let message = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = match &signer {
        Signer::Key(key) => BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())),
        Signer::Secret(key) => BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(key, message.as_bytes())),
    };
    let token = format!("{message}.{signature}");
    let issued = IssuedToken { token, expires_at };
    output.result(&issued, &issued.token);
    Ok(())
}

fn make_key() -> Option<([u8; SEED_BYTES], Ed25519KeyPair)> {
    let mut seed = [0; SEED_BYTES];
    SystemRandom::new().fill(&mut seed).ok()?;
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    Some((seed, key))
}

/// The thumbprint of the public key, so that a key has one name wherever it is.
/// <https://datatracker.ietf.org/doc/html/rfc8037#appendix-A.3>
fn key_id(key: &Ed25519KeyPair) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

fn signing_key(path: &Path) -> Result<Ed25519KeyPair, Failure> {
    let contents = read(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&contents).ok();
    // Some writers leave the public key out, which is then made from the private one.
    let key = key.and_then(|key| Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok());
    key.ok_or_else(|| Unusable::NoSigningKey.of(path))
}

fn secret(path: &Path) -> Result<hmac::Key, Failure> {
    let contents = read(path)?;
    let secret = contents.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(Unusable::ShortSecret { bytes: secret.len(), bytes_min: SECRET_BYTES_MIN }.of(path));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(name);
    name.push(ending);
    name.into()
}

impl Json for MadeKey<'_> {
    fn json(&self) -> impl Serialize {
        json!({
            "key_id": self.key_id,
            "signing_key_file": self.signing_key_file,
            "jwks_file": self.jwks_file,
        })
    }
}

impl Json for IssuedToken {
    fn json(&self) -> impl Serialize {
        json!({"token": self.token, "expires_at_unix_seconds": self.expires_at})
    }
}
