//! The enums of messages and those of the domain, which have the same names.

use bank_domain::{
    AccountState, AccountType,
    interest::{Compounding, DayCount, RoundingMode},
};
use bank_proto::v1;

macro_rules! enums {
    ($($type:ident $from_wire:ident $to_wire:ident { $($variant:ident)* })*) => {
        $(
            /// `None` for the unspecified value.
            pub(super) fn $from_wire(wire: v1::$type) -> Option<$type> {
                match wire {
                    v1::$type::Unspecified => None,
                    $(v1::$type::$variant => Some($type::$variant),)*
                }
            }

            pub(super) fn $to_wire(value: $type) -> v1::$type {
                match value {
                    $($type::$variant => v1::$type::$variant,)*
                }
            }
        )*
    };
}

enums! {
    AccountType account_type account_type_to_wire { Savings Checking }
    DayCount day_count day_count_to_wire { Act365Fixed Act360 ActActIsda Thirty360Bond ThirtyE360 }
    Compounding compounding compounding_to_wire { Simple Daily Monthly Quarterly Yearly }
    RoundingMode rounding_mode rounding_mode_to_wire { HalfEven HalfUp HalfDown Down Up Floor Ceiling }
    AccountState account_state account_state_to_wire { Active Frozen Closed }
}
