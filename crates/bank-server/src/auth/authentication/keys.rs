//! The keys that tokens are signed with: what is read of them, and which one a token names.
//!
//! A key has one algorithm, which follows from what it is and never from a token: else a public key
//! could be passed off as a shared secret.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_cert::{
    der::{
        self, Decode as _, Reader as _, SliceReader,
        asn1::{ObjectIdentifier, UintRef},
    },
    spki::SubjectPublicKeyInfoRef,
};

use super::verified::VerifiedTokens;
use crate::files::Fingerprint;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The sizes of an RSA modulus that are neither guessed nor a burden.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 2048 / 8..=8192 / 8;

/// The least that a shared secret must have: as much as its hash.
/// <https://datatracker.ietf.org/doc/html/rfc7518#section-3.2>
const SECRET_BYTES_MIN: usize = 32;

/// How keys are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON Web Key Set of public keys, each with its id.
    Jwks,
    /// One public key in PEM form.
    Pem,
    /// One secret that whoever issues tokens has too.
    Secret,
}

/// Why contents hold no keys. No variant quotes them: they may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// It is not a JSON Web Key Set.
    #[error("is not a JSON Web Key Set (line {line}, column {column})")]
    Jwks {
        /// Where it ceases to be one.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// Two keys have one id: it would be chance which of them is used.
    #[error("has two keys with the id {id:?}")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// There is no key that tokens can be verified with. A server does not start so; one that runs
    /// takes it at its word.
    #[error("has no key that the bank can use: Ed25519, P-256, or RSA of 2048 to 8192 bits; {}", why(.0))]
    NoneUsable(Vec<String>),
    /// It is not a public key in PEM form.
    #[error("holds no public key in PEM form (BEGIN PUBLIC KEY)")]
    Pem,
    /// The key is of another kind.
    #[error("holds a key that the bank cannot use; it takes Ed25519, P-256, and RSA of 2048 to 8192 bits")]
    Unusable,
    /// The secret can be guessed.
    #[error("holds a secret of {length} bytes; it must have at least {SECRET_BYTES_MIN}")]
    ShortSecret {
        /// Its length.
        length: usize,
    },
}

/// A key and the only algorithm that it is used with.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) verifying: DecodingKey,
    /// Of what the key is made of, and of its id if it has one.
    pub(super) fingerprint: Fingerprint,
}

/// The keys that are in effect, and the tokens that were verified with them. Other keys come with
/// another memory, so what a key has verified does not outlast it.
pub(super) struct KeySet {
    keys: Keys,
    verified: Mutex<VerifiedTokens>,
}

enum Keys {
    ById(HashMap<String, Key>),
    /// One key for all tokens, whatever id they name.
    One(Key),
}

impl KeySet {
    /// Reads keys. What is wrong with those that cannot be used is told apart.
    pub(super) fn parse(
        format: Format,
        contents: &[u8],
        verified: VerifiedTokens,
    ) -> Result<(Self, Vec<String>), InvalidKeys> {
        let (keys, unusable) = match format {
            Format::Jwks => {
                let (keys, unusable) = jwks(contents)?;
                (Keys::ById(keys), unusable)
            }
            Format::Pem => (Keys::One(pem(contents)?), Vec::new()),
            Format::Secret => (Keys::One(secret(contents)?), Vec::new()),
        };
        Ok((Self { keys, verified: Mutex::new(verified) }, unusable))
    }

    /// The key that a token names.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match &self.keys {
            Keys::ById(keys) => keys.get(id?),
            Keys::One(key) => Some(key),
        }
    }

    /// Whether this key is among them.
    pub(super) fn holds(&self, key: Fingerprint) -> bool {
        match &self.keys {
            Keys::ById(keys) => keys.values().any(|it| it.fingerprint == key),
            Keys::One(it) => it.fingerprint == key,
        }
    }

    /// Whether there is none, so that no token is good.
    pub(super) fn is_empty(&self) -> bool {
        match &self.keys {
            Keys::ById(keys) => keys.is_empty(),
            Keys::One(_) => false,
        }
    }

    /// The tokens that were verified with them.
    pub(super) fn verified(&self) -> MutexGuard<'_, VerifiedTokens> {
        // Nothing panics while it holds them.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they are called, for people.
    pub(super) fn names(&self) -> String {
        match &self.keys {
            Keys::ById(keys) => {
                let mut names: Vec<_> =
                    keys.iter().map(|(id, key)| format!("{id} ({:?})", key.algorithm)).collect();
                names.sort_unstable();
                names.join(", ")
            }
            Keys::One(key) => format!("{:?}", key.algorithm),
        }
    }
}

/// A JSON Web Key as far as it matters. <https://datatracker.ietf.org/doc/html/rfc7517#section-4>
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Of private keys only.
    d: Option<serde::de::IgnoredAny>,
}

fn jwks(contents: &[u8]) -> Result<(HashMap<String, Key>, Vec<String>), InvalidKeys> {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<serde_json::Value>,
    }
    let jwks: Jwks = serde_json::from_slice(contents)
        .map_err(|error| InvalidKeys::Jwks { line: error.line(), column: error.column() })?;
    let (mut keys, mut unusable) = (HashMap::new(), Vec::new());
    for (number, jwk) in (1..).zip(jwks.keys) {
        let id = jwk.get("kid").and_then(serde_json::Value::as_str).unwrap_or_default();
        let name = if id.is_empty() { format!("key {number}") } else { format!("key {id:?}") };
        match Jwk::deserialize(jwk).map_err(|_| "it is malformed").and_then(Jwk::into_key) {
            Ok((id, mut key)) => {
                key.fingerprint = key.fingerprint.named(&id);
                if keys.insert(id.clone(), key).is_some() {
                    return Err(InvalidKeys::DuplicateId { id });
                }
            }
            Err(reason) => unusable.push(format!("{name}: {reason}")),
        }
    }
    Ok((keys, unusable))
}

impl Jwk {
    fn into_key(self) -> Result<(String, Key), &'static str> {
        if self.d.is_some() {
            return Err("it is a private key; the bank needs the public one only");
        }
        if self.used_for.as_deref().is_some_and(|used_for| used_for != "sig")
            || self.key_ops.as_ref().is_some_and(|uses| uses.iter().all(|one| one != "verify"))
        {
            return Err("it is not for signatures");
        }
        let id = self.kid.filter(|id| !id.is_empty()).ok_or("it has no id (kid), so no token can name it")?;
        let decoded = |part: Option<String>| {
            let part = part.ok_or("a part is missing")?;
            BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is not in base64url form")
        };
        let (names, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => (["EdDSA", "Ed25519"], ed25519(&decoded(self.x)?)),
            ("EC", Some("P-256")) => {
                let (x, y) = (decoded(self.x)?, decoded(self.y)?);
                let point = [&[0x04], x.as_slice(), &y].concat();
                (["ES256"; 2], Some(&point).filter(|_| x.len() == y.len()).and_then(|point| p256(point)))
            }
            ("RSA", _) => (["RS256"; 2], rsa(&decoded(self.n)?, &decoded(self.e)?)),
            _ => return Err("the bank takes Ed25519, P-256 and RSA only"),
        };
        if self.alg.is_some_and(|alg| !names.contains(&alg.as_str())) {
            return Err("it is for another algorithm than EdDSA, ES256 or RS256");
        }
        Ok((id, key.ok_or("it is of a wrong size")?))
    }
}

fn pem(contents: &[u8]) -> Result<Key, InvalidKeys> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(contents).map_err(|_| InvalidKeys::Pem)?;
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| InvalidKeys::Pem)?;
    let bytes = info.subject_public_key.as_bytes().ok_or(InvalidKeys::Pem)?;
    let algorithm = info.algorithm;
    let curve =
        || algorithm.parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    let key = match algorithm.oid {
        ED25519 => ed25519(bytes),
        EC if curve() == Some(P256) => p256(bytes),
        RSA => rsa_components(bytes).ok().and_then(|(modulus, exponent)| rsa(modulus, exponent)),
        _ => None,
    };
    key.ok_or(InvalidKeys::Unusable)
}

/// The modulus and the exponent of an `RSAPublicKey`.
/// <https://datatracker.ietf.org/doc/html/rfc8017#appendix-A.1.1>
fn rsa_components(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let components = reader.sequence(|reader| {
        Ok::<_, der::Error>((UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes()))
    })?;
    reader.finish()?;
    Ok(components)
}

fn secret(contents: &[u8]) -> Result<Key, InvalidKeys> {
    let secret = contents.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(InvalidKeys::ShortSecret { length: secret.len() });
    }
    Ok(Key {
        algorithm: Algorithm::HS256,
        verifying: DecodingKey::from_secret(secret),
        fingerprint: Fingerprint::of([secret]),
    })
}

fn ed25519(bytes: &[u8]) -> Option<Key> {
    (bytes.len() == 32).then(|| Key {
        algorithm: Algorithm::EdDSA,
        verifying: DecodingKey::from_ed_der(bytes),
        fingerprint: Fingerprint::of([bytes]),
    })
}

/// From an uncompressed point.
fn p256(bytes: &[u8]) -> Option<Key> {
    let is_point = bytes.len() == 65 && bytes.starts_with(&[0x04]);
    is_point.then(|| Key {
        algorithm: Algorithm::ES256,
        verifying: DecodingKey::from_ec_der(bytes),
        fingerprint: Fingerprint::of([bytes]),
    })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Key> {
    // ring wants them without leading zeros, which some writers leave in.
    let [modulus, exponent] = [modulus, exponent].map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        &number[zeros..]
    });
    let usable = RSA_MODULUS_BYTES.contains(&modulus.len()) && !exponent.is_empty();
    usable.then(|| Key {
        algorithm: Algorithm::RS256,
        verifying: DecodingKey::from_rsa_raw_components(modulus, exponent),
        fingerprint: Fingerprint::of([modulus, exponent]),
    })
}

fn why(unusable: &[String]) -> String {
    if unusable.is_empty() { "it is empty".to_owned() } else { unusable.join("; ") }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.names()).finish()
    }
}
