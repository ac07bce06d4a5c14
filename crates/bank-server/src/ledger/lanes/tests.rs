use bank_store::conformance::commands::{deposit, transfer, withdraw};

use super::*;

/// Accounts `a1` and `a2` are on lane 1, `b1` and `b2` on lane 2.
fn lane(command: &Command) -> usize {
    if command.account_id().as_str().starts_with('a') { 1 } else { 2 }
}

#[test]
fn commands_that_share_accounts_stay_together_in_order() {
    for (commands, lanes) in [
        (vec![deposit("a1", 1), deposit("b1", 1), deposit("a2", 1)], vec![(1, vec![0, 2]), (2, vec![1])]),
        // The transfer ties both accounts together: what follows on either comes after it.
        (
            vec![deposit("b2", 1), transfer("a1", "b1", 1), withdraw("b1", 1), withdraw("a2", 1)],
            vec![(2, vec![0]), (1, vec![1, 2, 3])],
        ),
        // Also what comes before it.
        (vec![deposit("b1", 1), deposit("a1", 1), transfer("a1", "b1", 1)], vec![(2, vec![0, 1, 2])]),
        // Through other commands.
        (
            vec![transfer("a1", "b1", 1), transfer("b2", "a2", 1), transfer("b1", "b2", 1), deposit("a2", 1)],
            vec![(1, vec![0, 1, 2, 3])],
        ),
        (vec![], vec![]),
    ] {
        let commands: Vec<_> = commands.iter().collect();
        assert_eq!(divide(&commands, lane), lanes, "{commands:?}");
    }
}
