use super::*;

#[test]
fn fingerprints_depend_on_where_each_content_ends() {
    let of = |contents: &[&'static str]| Fingerprint::of(contents.iter().map(|text| text.as_bytes()));
    assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
    assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
    assert_ne!(of(&["a"]), of(&["a", ""]));
}

#[tokio::test]
async fn missing_and_oversized_files_are_errors() {
    let error = read(Path::new("/nowhere/key.pem")).await.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/key.pem: cannot be read: No such file"), "{error}");
    let error = read(Path::new("/dev/zero")).await.unwrap_err().to_string();
    assert_eq!(error, "/dev/zero: cannot be read: it has more than 1048576 bytes");
}
