//! `bank keygen` and `bank token`: keys, and tokens (RFC 7519) signed with them.

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
use serde_json::json;

use crate::{
    args,
    connect::read,
    failure::{Exit, Failure},
    files,
    output::Output,
    text::Text,
};

/// The bytes before the 32 of an Ed25519 key in PKCS #8, version 1, which is widely supported.
/// <https://datatracker.ietf.org/doc/html/rfc8410#section-7>
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;
/// The length of the hash. A server refuses a shorter secret.
const SECRET_BYTES_MIN: usize = 32;

enum Signer {
    Key(Ed25519KeyPair),
    Secret(hmac::Key),
}

pub(crate) fn keygen(args: &args::Keygen, output: &mut Output) -> Result<(), Failure> {
    let signing_key_file = with_extension(&args.name, ".pem");
    let jwks_file = with_extension(&args.name, ".jwks.json");
    if args.keep && signing_key_file.exists() && jwks_file.exists() {
        output.note("the key exists already and is kept");
        return Ok(());
    }
    let (seed, key) = make_key().ok_or_else(|| {
        Failure::new(Exit::Failed, "NO_RANDOMNESS", "the system has no random bytes for a key")
    })?;
    let (id, x) = (key_id(&key), BASE64_URL_SAFE_NO_PAD.encode(key.public_key()));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x});
    let der = BASE64_STANDARD.encode([PKCS8_PREFIX.as_slice(), &seed].concat());

    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let jwks = format!("{:#}\n", json!({"keys": [jwk]}));
    files::write(&signing_key_file, files::PRIVATE, pem.as_bytes())?;
    files::write(&jwks_file, files::PUBLIC, jwks.as_bytes()).inspect_err(|_| {
        // A key without its key set is useless, and would make the next attempt fail.
        let _ = fs::remove_file(&signing_key_file);
    })?;
    let text = [
        format!("{}: the private key; anyone who has it can issue tokens", signing_key_file.display()),
        format!("{}: the key set for the server, with the key {id}", jwks_file.display()),
    ];
    let made = json!({"key_id": id, "signing_key_file": signing_key_file, "jwks_file": jwks_file});
    output.result(made, Text::stack(text.map(Text::from)));
    Ok(())
}

pub(crate) fn token(args: &args::Token, output: &mut Output) -> Result<(), Failure> {
    let signer = match (&args.signing_key, &args.secret_file) {
        (Some(path), _) => Signer::Key(signing_key(path)?),
        (None, Some(path)) => Signer::Secret(secret(path)?),
        (None, None) => return Err(Failure::incomplete("`bank token`", "--signing-key")),
    };
    #[expect(clippy::disallowed_methods, reason = "a token is valid from now on, by this machine's clock")]
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
    output.result(json!({"token": token, "expires_at_unix_seconds": expires_at}), &token);
    Ok(())
}

fn make_key() -> Option<([u8; SEED_BYTES], Ed25519KeyPair)> {
    let mut seed = [0; SEED_BYTES];
    SystemRandom::new().fill(&mut seed).ok()?;
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    Some((seed, key))
}

/// The thumbprint of the public key, so that a key has the same id everywhere.
/// <https://datatracker.ietf.org/doc/html/rfc8037#appendix-A.3>
fn key_id(key: &Ed25519KeyPair) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

fn signing_key(path: &Path) -> Result<Ed25519KeyPair, Failure> {
    let contents = read(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&contents).ok();
    // Some programs leave the public key out; it is then derived from the private one.
    let key = key.and_then(|key| Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok());
    key.ok_or_else(|| Failure::file(path, "contains no Ed25519 private key in PEM form"))
}

fn secret(path: &Path) -> Result<hmac::Key, Failure> {
    let contents = read(path)?;
    let secret = contents.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        let problem =
            format!("contains a secret of {} bytes; at least {SECRET_BYTES_MIN} are needed", secret.len());
        return Err(Failure::file(path, problem));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

fn with_extension(name: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(name);
    name.push(extension);
    name.into()
}
