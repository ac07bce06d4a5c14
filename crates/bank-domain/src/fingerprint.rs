//! What a request means, in 64 bits.

use std::fmt;

use crate::{Command, Currency, encoding::Encoder};

/// Tells requests with different meanings apart: the first 64 bits of the SHA-256 of a canonical
/// encoding of a [`Command`].
///
/// It is kept for as long as the request's id is, so it must stay the same from one version of the
/// bank to the next: a new field of a command is encoded only where it differs from what its
/// absence meant before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The bits as a number.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From the bits of [`Fingerprint::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Command {
    /// What the command means; equal for equal commands, whatever bytes they arrived in.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut encoder = Encoder::default();
        self.encode(&mut encoder);
        Fingerprint(encoder.finish()[..8].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::OpenAccount(open) => {
                to.text("open").text(open.account_id().as_str()).text(open.account_type().as_str());
                to.text(open.currency().code()).text(open.owner().as_str());
                to.number(open.overdraft_limit_minor_units());
                for (key, value) in open.labels().iter() {
                    to.text(key).text(value);
                }
            }
            Self::Deposit(deposit) => {
                to.text("deposit").text(deposit.account_id.as_str());
                to.text(code(deposit.amount.currency())).number(deposit.amount.minor_units());
                to.text(deposit.description.as_str());
            }
            Self::Withdraw(withdraw) => {
                to.text("withdraw").text(withdraw.account_id.as_str());
                to.text(code(withdraw.amount.currency())).number(withdraw.amount.minor_units());
                to.text(withdraw.description.as_str());
            }
            Self::Transfer(transfer) => {
                to.text("transfer").text(transfer.source().as_str()).text(transfer.destination().as_str());
                to.text(code(transfer.amount().currency())).number(transfer.amount().minor_units());
                to.text(transfer.description().as_str());
            }
            Self::ApplyInterest(interest) => {
                to.text("interest").text(interest.account_id.as_str());
                to.printed(&interest.terms.annual_rate);
                to.text(interest.terms.day_count.as_str());
                to.text(interest.terms.compounding.as_str());
                to.text(interest.terms.rounding_mode.as_str());
                to.printed(&interest.period);
                to.text(interest.description.as_str());
            }
            Self::SetOverdraftLimit(set) => {
                to.text("overdraft_limit").text(set.account_id.as_str());
                to.text(code(set.limit.currency())).number(set.limit.minor_units());
            }
            Self::Freeze(change) => {
                to.text("freeze").text(change.account_id.as_str()).text(change.description.as_str());
            }
            Self::Unfreeze(change) => {
                to.text("unfreeze").text(change.account_id.as_str()).text(change.description.as_str());
            }
            Self::Close(change) => {
                to.text("close").text(change.account_id.as_str()).text(change.description.as_str());
            }
        }
    }
}

/// The code of the currency that a request names, or nothing.
fn code(currency: Option<Currency>) -> &'static str {
    currency.map_or("", Currency::code)
}

#[cfg(test)]
mod tests {
    use crate::{Amount, ChangeState, Command, Deposit, Description, Transfer, Withdraw};

    fn deposit(account_id: &str, minor_units: i64, description: &str) -> Command {
        Command::Deposit(Deposit {
            account_id: account_id.parse().unwrap(),
            amount: Amount::try_new(None, minor_units).unwrap(),
            description: description.parse().unwrap(),
        })
    }

    /// Records written by one version of the bank are read by the next: these never change.
    #[test]
    fn fingerprints_stay_the_same_from_version_to_version() {
        let transfer = Transfer::try_new(
            "a".parse().unwrap(),
            "b".parse().unwrap(),
            Amount::try_new("USD".parse().ok(), 1).unwrap(),
            Description::default(),
        );
        for (command, expected) in [
            (deposit("123", 100_000, ""), "f21e5072f41d2b36"),
            (Command::Transfer(transfer.unwrap()), "7ede107d2f39cb46"),
        ] {
            assert_eq!(command.fingerprint().to_string(), expected, "{command:?}");
        }
    }

    #[test]
    fn different_meanings_have_different_fingerprints() {
        let change = ChangeState { account_id: "a".parse().unwrap(), description: Description::default() };
        let withdraw = Withdraw {
            account_id: "a".parse().unwrap(),
            amount: Amount::try_new(None, 1).unwrap(),
            description: Description::default(),
        };
        let commands = [
            deposit("a", 1, ""),
            deposit("a", 2, ""),
            deposit("b", 1, ""),
            deposit("a", 1, "x"),
            Command::Withdraw(withdraw),
            Command::Freeze(change.clone()),
            Command::Unfreeze(change.clone()),
            Command::Close(change),
        ];
        let mut fingerprints: Vec<_> = commands.iter().map(|it| it.fingerprint().to_bits()).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), commands.len());
        assert_eq!(deposit("a", 1, "").fingerprint(), deposit("a", 1, "").fingerprint());
    }
}
