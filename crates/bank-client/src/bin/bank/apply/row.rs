//! One line of a file as it is written: text in named columns.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

macro_rules! columns {
    ($($column:ident),+ $(,)?) => {
        /// The columns of a file, in the order in which they are documented and hashed.
        pub(crate) const COLUMNS: &[&str] = &[$(stringify!($column)),+];

        /// A line as it is written. A column that is empty, `null` or not there is the empty text.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(super) struct Row {
            $(pub(super) $column: String,)+
        }

        impl Row {
            /// The text in a column, if there is such a column.
            pub(super) fn column_mut(&mut self, column: &str) -> Option<&mut String> {
                match column {
                    $(stringify!($column) => Some(&mut self.$column),)+
                    _ => None,
                }
            }

            /// The columns that are not empty.
            pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
                let columns = [$((stringify!($column), &*self.$column)),+];
                columns.into_iter().filter(|(_, text)| !text.is_empty())
            }
        }
    };
}

columns! {
    operation,
    account_id,
    destination_account_id,
    amount,
    currency_code,
    annual_interest_rate,
    start_date,
    end_date,
    day_count,
    compounding,
    rounding_mode,
    account_type,
    owner,
    labels,
    overdraft_limit,
    description,
    request_id,
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Columns)
    }
}

/// Reads a row from a JSON object.
struct Columns;

impl<'de> Visitor<'de> for Columns {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with the columns of one operation")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        let mut seen = Vec::new();
        while let Some(column) = map.next_key::<String>()? {
            let Some(text) = row.column_mut(&column) else {
                return Err(A::Error::custom(unknown([&*column])));
            };
            *text = map.next_value::<Cell>()?.into_text(&column).map_err(A::Error::custom)?;
            if seen.contains(&column) {
                return Err(A::Error::custom(format_args!("{column} is given twice")));
            }
            seen.push(column);
        }
        Ok(row)
    }
}

/// A value of a JSON object. Numbers are not taken: many programs do not keep them exact.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Null(()),
    Text(String),
    Labels(Labels),
    Other(serde_json::Value),
}

impl Cell {
    fn into_text(self, column: &str) -> Result<String, String> {
        match self {
            Self::Null(()) => Ok(String::new()),
            Self::Text(text) => Ok(text.trim().to_owned()),
            Self::Labels(labels) if column == "labels" => {
                serde_json::to_string(&labels.0).map_err(|error| error.to_string())
            }
            Self::Other(_) if column == "labels" => {
                Err("labels must be an object of texts, in which each key comes once".to_owned())
            }
            // Which number is not told: it may not be exact any more.
            Self::Other(serde_json::Value::Number(_)) => {
                Err(format!("{column} is a number; write it as text in quotes, such as \"1000.00\""))
            }
            Self::Labels(_) | Self::Other(_) => Err(format!("{column} must be text in quotes, or null")),
        }
    }
}

/// Keys and values, each key once.
struct Labels(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if labels.insert(key, value).is_some() {
                return Err(A::Error::custom("a key comes twice"));
            }
        }
        Ok(Labels(labels))
    }
}

/// What is wrong with columns that there are not.
pub(super) fn unknown<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    /// As many as help, in characters of each.
    const SHOWN: (usize, usize) = (5, 32);
    let shown = columns.into_iter().take(SHOWN.0);
    let shown: Vec<_> =
        shown.map(|column| format!("{:?}", column.chars().take(SHOWN.1).collect::<String>())).collect();
    format!("unknown column {}; the columns are {}", shown.join(", "), COLUMNS.join(", "))
}

/// Reads labels: `key=value;key=value`, or a JSON object, in which values may have any character.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.starts_with('{') {
        return serde_json::from_str::<Labels>(text)
            .map(|labels| labels.0)
            .map_err(|error| format!("labels are not an object of texts: {error}"));
    }
    let mut labels = BTreeMap::new();
    for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err("labels must be written like branch=north;tier=gold".to_owned());
        };
        if labels.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Err(format!("labels have the key {:?} twice", key.trim()));
        }
    }
    Ok(labels)
}
