use super::*;

#[test]
fn owners_and_descriptions_are_bounded() {
    assert!("auth0|alice@example.com".parse::<Owner>().is_ok());
    assert!("".parse::<Owner>().unwrap().is_empty());
    for bad in ["a b", "é", "a\n", &"a".repeat(129)] {
        assert_eq!(bad.parse::<Owner>(), Err(InvalidOwner), "{bad:?}");
    }
    assert!("Loyer de février, 12 €".parse::<Description>().is_ok());
    assert!("é".repeat(256).parse::<Description>().is_ok());
    for bad in ["a\nb", "\0", &"é".repeat(257)] {
        assert_eq!(bad.parse::<Description>(), Err(InvalidDescription), "{bad:?}");
    }
}

#[test]
fn labels_are_bounded() {
    let labels = |pairs: &[(&str, &str)]| {
        Labels::try_from(pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<BTreeMap<_, _>>())
    };
    assert!(labels(&[("branch", "Zürich"), ("cost.center", "")]).is_ok());
    assert!(matches!(labels(&[("Branch", "x")]), Err(InvalidLabels::Key { .. })));
    assert!(matches!(labels(&[("", "x")]), Err(InvalidLabels::Key { .. })));
    assert!(matches!(labels(&[("a", &"x".repeat(65))]), Err(InvalidLabels::Value { .. })));
    assert!(matches!(labels(&[("a", "\n")]), Err(InvalidLabels::Value { .. })));
    let many: BTreeMap<_, _> = (0..17).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(Labels::try_from(many), Err(InvalidLabels::TooMany { count: 17 }));
}
