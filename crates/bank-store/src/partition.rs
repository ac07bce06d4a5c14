//! Which partition an account is on.

use bank_domain::AccountId;

use crate::StoreError;

/// How many partitions a bank has unless it is founded with another number.
pub(crate) const PARTITIONS_DEFAULT: u32 = 256;
/// The most that it can have: as many slots as Redis Cluster has.
const PARTITIONS_MAX: u32 = 16_384;

/// The partitions of a bank. Their number is fixed when it is founded, in every backend alike:
/// accounts are listed by partition first, so equal banks are listed and exported in equal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partitions(u32);

impl Partitions {
    pub(crate) fn try_new(count: u32) -> Result<Self, StoreError> {
        if (1..=PARTITIONS_MAX).contains(&count) {
            return Ok(Self(count));
        }
        Err(StoreError::Misconfigured(format!("store.partitions must be from 1 to {PARTITIONS_MAX}")))
    }

    pub(crate) const fn count(self) -> u32 {
        self.0
    }

    pub(crate) fn of(self, id: &AccountId) -> u32 {
        self.of_name(id.as_str())
    }

    /// FNV-1a, 32 bits, modulo the number of partitions. It is part of the layout: it never changes.
    /// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
    pub(crate) fn of_name(self, name: &str) -> u32 {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash % self.0
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self(PARTITIONS_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_stay_on_their_partitions() {
        let partitions = Partitions::default();
        assert_eq!((partitions.of_name("123"), partitions.of_name("alice")), (27, 231));
        assert!(Partitions::try_new(0).is_err() && Partitions::try_new(16_385).is_err());
    }

    #[test]
    fn accounts_spread_evenly() {
        let partitions = Partitions::default();
        let mut counts = [0_u32; 256];
        for number in 0..256_000 {
            counts[partitions.of_name(&format!("account-{number}")) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
