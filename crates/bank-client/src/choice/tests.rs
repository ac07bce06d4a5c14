use super::*;

#[test]
fn every_name_reads_back_and_crosses_the_wire() {
    for name in EntryKind::NAMES {
        let kind: EntryKind = name.parse().unwrap();
        assert_eq!(kind.as_str(), *name);
        assert_eq!(EntryKind::from_wire(kind.to_wire()), kind);
    }
    for name in AuditFindingKind::NAMES {
        let kind: AuditFindingKind = name.parse().unwrap();
        assert_eq!(AuditFindingKind::from_wire(kind.to_wire()), kind);
    }
    assert_eq!(
        "saving".parse::<AccountType>().unwrap_err().to_string(),
        "\"saving\" is not one of savings, checking"
    );
}

#[test]
fn a_value_from_a_newer_server_is_kept() {
    let kind = EntryKind::from_wire(4711);
    assert_eq!(kind, EntryKind::Unrecognized(4711));
    assert_eq!(kind.to_wire(), 4711);
    assert_eq!(kind.to_string(), "unrecognized");
}
