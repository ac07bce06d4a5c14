use super::*;

const ED25519_KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn parse(contents: &str) -> Result<(String, Vec<String>), InvalidKeys> {
    let (keys, unusable) = KeySet::parse(Format::Jwks, contents.as_bytes())?;
    Ok((keys.names(), unusable))
}

/// A list of the fields in their order was accepted as a set of keys, and as a key.
#[test]
fn a_key_set_and_its_keys_are_objects() {
    let used = "a (EdDSA)".to_owned();
    assert_eq!(parse(&format!(r#" {{"keys":[{ED25519_KEY}]}}"#)), Ok((used.clone(), vec![])));
    assert_eq!(parse(&format!("[[{ED25519_KEY}]]")), Err(InvalidKeys::Jwks { line: 1, column: 1 }));
    let list = r#"["OKP","b",null,null,null,"Ed25519","AAAA",null,null,null,null]"#;
    let set = format!(r#"{{"keys":[{ED25519_KEY},{list}]}}"#);
    assert_eq!(parse(&set), Ok((used, vec!["key 2: it is malformed".to_owned()])));
}
