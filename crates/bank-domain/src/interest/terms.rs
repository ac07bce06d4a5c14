//! The terms that interest is calculated by.

use serde::{Deserialize, Serialize};

use super::{
    compounding::Compounding, day_count::DayCount, period::Period, rate::AnnualRate, rounding::RoundingMode,
};

/// The longest range of dates that interest can be compounded over daily: ten years.
///
/// Exact results get longer with every compounding; this bounds the cost of a calculation. Every other
/// compounding has fewer sub-periods, even over the longest [`DateRange`](super::DateRange).
pub const DAILY_COMPOUNDING_DAYS_MAX: u32 = 3_660;

/// The period is too long for daily compounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "makes a period of {days} days; daily compounding allows at most {DAILY_COMPOUNDING_DAYS_MAX}: compound \
     monthly or split the period"
)]
pub struct PeriodTooLong {
    /// The days of the period.
    pub days: u32,
}

/// What interest is calculated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// In percent a year.
    pub annual_rate: AnnualRate,
    /// How days become a fraction of a year.
    pub day_count: DayCount,
    /// How often interest is added to the principal.
    pub compounding: Compounding,
    /// How the exact interest becomes whole minor units.
    pub rounding_mode: RoundingMode,
}

impl Terms {
    /// A rate with the defaults: ACT/365F, simple, half even.
    pub fn new(annual_rate: AnnualRate) -> Self {
        Self {
            annual_rate,
            day_count: DayCount::default(),
            compounding: Compounding::default(),
            rounding_mode: RoundingMode::default(),
        }
    }

    /// Checks that the bank calculates interest over this period.
    ///
    /// # Errors
    /// [`PeriodTooLong`] for daily compounding over more than [`DAILY_COMPOUNDING_DAYS_MAX`] days.
    pub fn require_calculable(&self, period: Period) -> Result<(), PeriodTooLong> {
        let days = period.days();
        if self.compounding == Compounding::Daily && days > DAILY_COMPOUNDING_DAYS_MAX {
            return Err(PeriodTooLong { days });
        }
        Ok(())
    }
}
