use std::collections::BTreeSet;

/// Every case is in the macro.
#[test]
fn the_macro_has_every_case() {
    let files = [
        include_str!("cases/backups.rs"),
        include_str!("cases/commits.rs"),
        include_str!("cases/histories.rs"),
        include_str!("cases/listings.rs"),
        include_str!("cases/races.rs"),
        include_str!("cases/readings.rs"),
    ];
    let name = |line: &'static str| line.strip_prefix("pub async fn ")?.split('(').next();
    let written: Vec<_> = files.iter().flat_map(|file| file.lines()).filter_map(name).collect();
    let in_macro = include_str!("../conformance.rs")
        .lines()
        .filter(|line| line.starts_with("            ") && !line.starts_with("             "));
    let in_macro: BTreeSet<_> = in_macro.map(str::trim).filter(|line| line.contains('_')).collect();
    let in_macro: BTreeSet<_> = in_macro
        .into_iter()
        .filter(|line| line.chars().all(|it| it == '_' || it.is_ascii_lowercase() || it.is_ascii_digit()))
        .collect();
    assert_eq!(written.iter().copied().collect::<BTreeSet<_>>(), in_macro);
    assert_eq!(written.len(), in_macro.len(), "two cases have the same name");
}
