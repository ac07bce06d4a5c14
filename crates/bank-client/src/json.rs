//! Results as JSON: the fields of the API, with times in RFC 3339 and amounts also as decimals.

use std::collections::BTreeMap;

use bank_domain::{AccountId, Currency, EntryHash, Money, MoneySum, RequestId, Timestamp};
use serde::{Serialize, Serializer};

/// A result that has a JSON document.
pub trait Json {
    /// Writes the document.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// The document, to be serialized.
    fn json(&self) -> Document<'_, Self> {
        Document(self)
    }
}

/// The JSON document of a result.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a, T: ?Sized>(&'a T);

impl<T: Json + ?Sized> Serialize for Document<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

/// Implements [`Json`] for an object with these members, in this order.
macro_rules! json_object {
    ($type:ty, |$value:ident| { $($key:expr => $member:expr,)+ }) => {
        impl $crate::json::Json for $type {
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;

                let $value = self;
                let mut object = serializer.serialize_map(None)?;
                $(object.serialize_entry($key, &$crate::json::Json::json(&$member))?;)+
                object.end()
            }
        }
    };
}

pub(crate) use json_object;

/// Values that print as the text that they are in JSON.
macro_rules! json_texts {
    ($($type:ty)+) => {
        $(impl $crate::json::Json for $type {
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}

pub(crate) use json_texts;

/// Values that serde writes as they are in JSON.
macro_rules! values {
    ($($type:ty)+) => {
        $(impl Json for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        })+
    };
}

json_texts! { String AccountId Currency EntryHash RequestId Timestamp }

values! { bool i64 u64 u128 BTreeMap<String, String> }

impl<T: Json> Json for Option<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Json::json).serialize(serializer)
    }
}

impl<T: Json> Json for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Json::json))
    }
}

json_object! { Money, |money| {
    "currency_code" => money.currency,
    "minor_units" => money.minor_units,
    "amount" => money.to_decimal(),
} }

json_object! { MoneySum, |sum| {
    "minor_units" => sum.minor_units.to_string(),
    "amount" => sum.to_decimal(),
} }
