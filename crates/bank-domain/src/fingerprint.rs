//! Fingerprints of commands.

use std::fmt;

use crate::{Command, Currency, encoding::Encoder};

/// Distinguishes commands with different meanings: the first 64 bits of the SHA-256 of a canonical encoding of a
/// [`Command`].
///
/// It is stored with the request id, so it must stay the same in every version of the bank: a new field of a
/// command is encoded only if it differs from its default.
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
    /// Equal for commands with the same meaning.
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

/// The code of the currency that the request names; empty for none.
fn code(currency: Option<Currency>) -> &'static str {
    currency.map_or("", Currency::code)
}

#[cfg(test)]
mod tests;
