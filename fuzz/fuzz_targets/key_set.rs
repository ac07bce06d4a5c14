//! Keys: a JSON Web Key Set, a public key in PEM form, or a secret.
//!
//! Each key of a set is used or reported. No key verifies a signature of zeros, and verifying with it does not fail in any
//! other way than with an error.

#![no_main]

use bank_server::fuzzing::authentication::{Format, keys};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [format, contents @ ..] = data else { return };
    let format = match format % 4 {
        0 => Format::Pem,
        1 => Format::Secret,
        _ => Format::Jwks,
    };
    let (found, unusable) = match keys(format, contents) {
        Ok(found) => found,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let (again, _) = keys(format, contents).expect("the same contents are the same keys");
    assert_eq!(found.names(), again.names());
    assert!(unusable.iter().all(|reason| !reason.is_empty()));
    let ids = match format {
        Format::Jwks => ids(contents),
        Format::Pem | Format::Secret => vec![String::new()],
    };
    let used: Vec<_> = ids.iter().filter(|id| found.has(id)).collect();
    assert!(used.len() + unusable.len() >= ids.len(), "a key is neither used nor reported");
    for id in used {
        for algorithm in ["EdDSA", "ES256", "RS256", "HS256"] {
            for signature_bytes in [0, 32, 64, 256] {
                let header = serde_json::json!({ "alg": algorithm, "kid": id }).to_string();
                let [header, claims, signature] = [header.as_bytes(), b"{}", &vec![0; signature_bytes]]
                    .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
                let mut headers = HeaderMap::new();
                let token = HeaderValue::try_from(format!("Bearer {header}.{claims}.{signature}"));
                headers.insert(AUTHORIZATION, token.expect("base64 is a header value"));
                assert!(found.verify(&headers).is_err());
            }
        }
    }
});

/// The ids of the keys in a set that has been parsed.
fn ids(contents: &[u8]) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_slice(contents).expect("it has been parsed");
    let keys = set["keys"].as_array().expect("it has been parsed");
    keys.iter().map(|key| key["kid"].as_str().unwrap_or_default().to_owned()).collect()
}
