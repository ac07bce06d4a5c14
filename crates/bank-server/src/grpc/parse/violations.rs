//! Collects the violations of a message, field by field.

use std::{fmt::Display, str::FromStr};

use bank_domain::{Amount, Currency, InvalidTimestamp, OverdraftLimit, Timestamp};
use bank_proto::v1;
use tonic_types::FieldViolation;

use crate::status::Failure;

/// The violations of a message so far. Parsers that add one return `None`.
#[derive(Default)]
pub(in crate::grpc) struct Violations(Vec<FieldViolation>);

impl Violations {
    pub(super) fn add(&mut self, field: impl Display, description: impl Display) {
        self.0.push(FieldViolation::new(field.to_string(), description.to_string()));
    }

    /// Adds the violations of a message that is a field of this one.
    pub(super) fn add_all(&mut self, field: impl Display, inner: Self) {
        self.0.extend(inner.0.into_iter().map(|mut violation| {
            violation.field = format!("{field}.{}", violation.field);
            violation
        }));
    }

    /// Keeps the first violations, at most `max` with `bytes_max` bytes of text, and says how many there are besides.
    pub(super) fn keep(&mut self, max: usize, bytes_max: usize, field: &str) {
        let mut bytes = 0;
        let fits = |violation: &&FieldViolation| {
            bytes += violation.field.len() + violation.description.len();
            bytes <= bytes_max
        };
        let kept = self.0.iter().take(max).take_while(fits).count().max(1);
        if let Some(more) = self.0.len().checked_sub(kept).filter(|more| *more > 0) {
            self.0.truncate(kept);
            self.add(field, format!("has {more} more violations"));
        }
    }

    pub(super) fn check<T, E: Display>(&mut self, field: impl Display, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error)).ok()
    }

    pub(super) fn text<T: FromStr<Err: Display>>(&mut self, field: impl Display, text: &str) -> Option<T> {
        self.check(field, text.parse())
    }

    /// Empty text means that the field was left out.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &mut self,
        field: impl Display,
        text: &str,
    ) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.text(field, text).map(Some) }
    }

    /// An enum by its number; `None` inside for the unspecified one.
    pub(super) fn choice<W: TryFrom<i32>, T>(
        &mut self,
        field: &str,
        number: i32,
        choose: impl FnOnce(W) -> Option<T>,
    ) -> Option<Option<T>> {
        match W::try_from(number) {
            Ok(value) => Some(choose(value)),
            Err(_) => {
                self.add(field, format!("{number} is not one of its values"));
                None
            }
        }
    }

    pub(super) fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "is required");
        }
        value
    }

    /// An amount of at most `max` minor units.
    pub(super) fn amount(&mut self, field: &str, money: Option<&v1::Money>, max: i64) -> Option<Amount> {
        let (currency, minor_units) = self.money(field, money)?;
        let amount = Amount::try_new(currency, minor_units).and_then(|amount| amount.at_most(max));
        self.check(format_args!("{field}.minor_units"), amount)
    }

    /// An overdraft limit of at most `max` minor units.
    pub(super) fn limit(
        &mut self,
        field: &str,
        money: Option<&v1::Money>,
        max: i64,
    ) -> Option<OverdraftLimit> {
        let (currency, minor_units) = self.money(field, money)?;
        let limit = OverdraftLimit::try_new(currency, minor_units).and_then(|limit| limit.at_most(max));
        self.check(format_args!("{field}.minor_units"), limit)
    }

    pub(super) fn money(
        &mut self,
        field: &str,
        money: Option<&v1::Money>,
    ) -> Option<(Option<Currency>, i64)> {
        let money = self.required(field, money)?;
        let currency = self.optional(format_args!("{field}.currency_code"), &money.currency_code)?;
        Some((currency, money.minor_units))
    }

    /// A point in time, as the first whole millisecond at or after it.
    pub(super) fn time(
        &mut self,
        field: &str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<Option<Timestamp>> {
        let Some(prost_types::Timestamp { seconds, nanos }) = time else {
            return Some(None);
        };
        let Some(nanos) = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000) else {
            self.add(field, format!("has {nanos} nanos; they are from 0 to 999999999"));
            return None;
        };
        let milliseconds = i64::from(nanos.div_ceil(1_000_000));
        let unix_ms = seconds.checked_mul(1000).and_then(|unix_ms| unix_ms.checked_add(milliseconds));
        let time = unix_ms.ok_or(InvalidTimestamp).and_then(Timestamp::try_from_unix_ms);
        self.check(field, time).map(Some)
    }

    /// Returns what was parsed, if there are no violations.
    pub(super) fn finish<T>(self, parsed: Option<T>) -> Result<T, Failure> {
        match parsed {
            Some(parsed) if self.0.is_empty() => Ok(parsed),
            _ => Err(Failure::Invalid(self.0)),
        }
    }
}
