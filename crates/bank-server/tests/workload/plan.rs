//! What a teller does next, as a function of a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::history::Action;

/// Most amounts are below this: a small part of what an account holds.
const AMOUNT_SMALL_MAX: i64 = 20_000;
/// The others are below this: commonly more than an account holds.
const AMOUNT_LARGE_MAX: i64 = 500_000;
const LARGE: f64 = 0.08;
/// How long a teller thinks at most before the next operation, in milliseconds.
const PAUSE_MS_MAX: u64 = 8;
/// How long a teller waits for an answer, in milliseconds: not at all long, as long as a server tries to find an
/// outcome out, and longer.
const TIMEOUTS_MS: [u64; 3] = [300, 1_000, 4_000];

/// One thing to do, after a pause.
pub(super) struct Step {
    pub(super) pause: Duration,
    pub(super) action: Action,
    pub(super) timeout: Duration,
}

/// Steps without end.
pub(super) struct Plan {
    random: StdRng,
    accounts: [&'static str; 4],
}

impl Plan {
    pub(super) fn new(seed: u64, accounts: [&'static str; 4]) -> Self {
        Self { random: StdRng::seed_from_u64(seed), accounts }
    }

    pub(super) fn next(&mut self) -> Step {
        Step {
            pause: Duration::from_millis(self.random.random_range(0..=PAUSE_MS_MAX)),
            action: self.action(),
            timeout: Duration::from_millis(*TIMEOUTS_MS.choose(&mut self.random).unwrap()),
        }
    }

    fn action(&mut self) -> Action {
        let [one, other] = self.two_accounts();
        let most = if self.random.random_bool(LARGE) { AMOUNT_LARGE_MAX } else { AMOUNT_SMALL_MAX };
        let amount = self.random.random_range(1..=most);
        match self.random.random_range(0..100) {
            0..35 => Action::Transfer { from: one, to: other, amount },
            35..50 => Action::Deposit { account: one, amount },
            50..65 => Action::Withdraw { account: one, amount },
            65..77 => Action::GetBalance { account: one },
            77..89 => Action::GetAccount { account: one },
            _ => Action::ListAccounts,
        }
    }

    fn two_accounts(&mut self) -> [String; 2] {
        let mut two = self.accounts.sample(&mut self.random, 2).map(|name| (*name).to_owned());
        [two.next().unwrap(), two.next().unwrap()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn actions(seed: u64) -> Vec<Action> {
        let mut plan = Plan::new(seed, ["a", "b", "c", "d"]);
        (0..200).map(|_| plan.next().action).collect()
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(actions(1), actions(1));
        assert_ne!(actions(1), actions(2));
        let kinds: BTreeSet<_> = actions(1).iter().map(|action| action.to_string()[..6].to_owned()).collect();
        assert_eq!(kinds.len(), 5, "{kinds:?}");
        for action in actions(1) {
            if let Action::Transfer { from, to, .. } = action {
                assert_ne!(from, to);
            }
        }
    }
}
