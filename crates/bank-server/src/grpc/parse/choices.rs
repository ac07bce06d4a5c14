//! The enums of messages as the domain has them; `None` for the unspecified value.

use bank_domain::{
    AccountState, AccountType,
    interest::{Compounding, DayCount, RoundingMode},
};
use bank_proto::v1;

pub(super) fn account_type(wire: v1::AccountType) -> Option<AccountType> {
    match wire {
        v1::AccountType::Unspecified => None,
        v1::AccountType::Savings => Some(AccountType::Savings),
        v1::AccountType::Checking => Some(AccountType::Checking),
    }
}

pub(super) fn account_state(wire: v1::AccountState) -> Option<AccountState> {
    match wire {
        v1::AccountState::Unspecified => None,
        v1::AccountState::Active => Some(AccountState::Active),
        v1::AccountState::Frozen => Some(AccountState::Frozen),
        v1::AccountState::Closed => Some(AccountState::Closed),
    }
}

pub(super) fn entry_kind(wire: v1::EntryKind) -> Option<v1::EntryKind> {
    (wire != v1::EntryKind::Unspecified).then_some(wire)
}

pub(super) fn day_count(wire: v1::DayCount) -> Option<DayCount> {
    match wire {
        v1::DayCount::Unspecified => None,
        v1::DayCount::Act365Fixed => Some(DayCount::Act365Fixed),
        v1::DayCount::Act360 => Some(DayCount::Act360),
        v1::DayCount::ActActIsda => Some(DayCount::ActActIsda),
        v1::DayCount::Thirty360Bond => Some(DayCount::Thirty360Bond),
        v1::DayCount::ThirtyE360 => Some(DayCount::ThirtyE360),
    }
}

pub(super) fn compounding(wire: v1::Compounding) -> Option<Compounding> {
    match wire {
        v1::Compounding::Unspecified => None,
        v1::Compounding::Simple => Some(Compounding::Simple),
        v1::Compounding::Daily => Some(Compounding::Daily),
        v1::Compounding::Monthly => Some(Compounding::Monthly),
        v1::Compounding::Quarterly => Some(Compounding::Quarterly),
        v1::Compounding::Yearly => Some(Compounding::Yearly),
    }
}

pub(super) fn rounding_mode(wire: v1::RoundingMode) -> Option<RoundingMode> {
    match wire {
        v1::RoundingMode::Unspecified => None,
        v1::RoundingMode::HalfEven => Some(RoundingMode::HalfEven),
        v1::RoundingMode::HalfUp => Some(RoundingMode::HalfUp),
        v1::RoundingMode::HalfDown => Some(RoundingMode::HalfDown),
        v1::RoundingMode::Down => Some(RoundingMode::Down),
        v1::RoundingMode::Up => Some(RoundingMode::Up),
        v1::RoundingMode::Floor => Some(RoundingMode::Floor),
        v1::RoundingMode::Ceiling => Some(RoundingMode::Ceiling),
    }
}
