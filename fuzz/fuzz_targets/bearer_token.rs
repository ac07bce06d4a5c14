//! The authorization header of a call, as it came or with a token that is signed with the right key.
//!
//! A header that nobody signed never names a caller. One that is signed names one within bounds, or is rejected.

#![no_main]

use std::sync::LazyLock;

use bank_server::fuzzing::authentication::{Format, Keys, keys};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use ring::hmac;

const SECRET: &[u8] = b"a secret that only this target has";
const TOKEN_BYTES_MAX: usize = 8192;

static KEYS: LazyLock<Keys> = LazyLock::new(|| keys(Format::Secret, SECRET).expect("a secret").0);

fuzz_target!(|data: &[u8]| {
    let [mode, data @ ..] = data else { return };
    let is_signed = mode & 1 == 1;
    let value = if is_signed { signed(data) } else { data.to_vec() };
    let Ok(value) = HeaderValue::from_bytes(&value) else { return };
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, value.clone());
    let is_twice = mode & 2 == 2;
    if is_twice {
        headers.append(AUTHORIZATION, value.clone());
    }
    match KEYS.verify(&headers) {
        Ok(verified) => {
            assert!(is_signed && !is_twice && value.len() <= "Bearer ".len() + TOKEN_BYTES_MAX);
            let subject = verified.identity.subject().as_str();
            assert!(
                (1..=128).contains(&subject.len()) && subject.bytes().all(|byte| byte.is_ascii_graphic())
            );
            assert_eq!(KEYS.verify(&headers), Ok(verified));
        }
        // What is logged does not grow with the token.
        Err(rejection) => assert!(rejection.to_string().len() < 300, "{rejection}"),
    }
});

/// A bearer token of a header and claims, one on each line.
fn signed(data: &[u8]) -> Vec<u8> {
    let line_end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..line_end], data.get(line_end + 1..).unwrap_or_default());
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("Bearer {message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into_bytes()
}
