use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use tempfile::TempDir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn existing_files_are_not_overwritten() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("file"), "mine").unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    for name in ["file", "link", "dangling"] {
        for failure in [
            write(&path(name), PUBLIC, b"theirs").unwrap_err(),
            Unfinished::create(&path(name)).map(drop).unwrap_err(),
        ] {
            assert!(failure.to_string().ends_with("already exists and is not overwritten"), "{failure}");
        }
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"mine");
    assert!(!path("nowhere").exists());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
}

#[test]
fn a_file_is_private_takes_its_place_when_it_is_whole_and_is_gone_otherwise() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bank.jsonl");
    drop(Unfinished::create(&path).unwrap());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);

    let mut file = Unfinished::create(&path).unwrap();
    file.write(b"all of it").unwrap();
    assert!(!path.exists());
    file.finish().unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"all of it".to_vec(), PRIVATE));

    // Whatever came there meanwhile stays.
    let other = directory.path().join("other");
    let file = Unfinished::create(&other).unwrap();
    fs::write(&other, "came first").unwrap();
    assert!(file.finish().is_err());
    assert_eq!(fs::read(&other).unwrap(), b"came first");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
}
