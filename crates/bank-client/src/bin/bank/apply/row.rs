//! One line of a file as text in named columns.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

/// The columns of a file, in the order in which they are documented and hashed.
pub(crate) const COLUMNS: [&str; 17] = [
    "operation",
    "account_id",
    "destination_account_id",
    "amount",
    "currency_code",
    "annual_interest_rate",
    "start_date",
    "end_date",
    "day_count",
    "compounding",
    "rounding_mode",
    "account_type",
    "owner",
    "labels",
    "overdraft_limit",
    "description",
    "request_id",
];

/// The text in each column; empty if the column is empty, `null` or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row([String; COLUMNS.len()]);

impl Row {
    fn index(column: &str) -> Option<usize> {
        COLUMNS.iter().position(|&name| name == column)
    }

    pub(super) fn get(&self, column: &str) -> &str {
        Self::index(column).map_or("", |index| &self.0[index])
    }

    /// Sets the text in a column.
    ///
    /// # Errors
    /// If the column does not exist.
    pub(super) fn set(&mut self, column: &str, text: impl Into<String>) -> Result<(), String> {
        let index = Self::index(column).ok_or_else(|| unknown([column]))?;
        self.0[index] = text.into();
        Ok(())
    }

    /// The columns that are not empty.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        COLUMNS.into_iter().zip(self.0.iter().map(String::as_str)).filter(|(_, text)| !text.is_empty())
    }

    /// Reads a JSON object.
    pub(super) fn from_json(line: &[u8]) -> Result<Self, String> {
        let Members(cells) = serde_json::from_slice(line).map_err(|error| problem(&error))?;
        let mut row = Self::default();
        for (column, cell) in cells {
            row.set(&column, cell_text(&column, cell)?)?;
        }
        Ok(row)
    }
}

/// The members of a JSON object, each key once.
struct Members<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members: Vec<(String, V)> = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    if members.iter().any(|(seen, _)| *seen == key) {
                        return Err(A::Error::custom(format_args!("{key} is given twice")));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// A value of a JSON object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Null(()),
    Text(String),
    Labels(Members<String>),
    Other(serde_json::Value),
}

/// The text of a value. Numbers are refused: many programs do not keep them exact.
fn cell_text(column: &str, cell: Cell) -> Result<String, String> {
    match cell {
        Cell::Null(()) => Ok(String::new()),
        Cell::Text(text) => Ok(text.trim().to_owned()),
        Cell::Labels(Members(labels)) if column == "labels" => {
            let labels: BTreeMap<_, _> = labels.into_iter().collect();
            serde_json::to_string(&labels).map_err(|error| error.to_string())
        }
        Cell::Other(_) if column == "labels" => {
            Err("labels must be an object of texts, in which each key occurs once".to_owned())
        }
        // The number is not shown: it may not be exact any more.
        Cell::Other(serde_json::Value::Number(_)) => {
            Err(format!("{column} is a number; write it as text in quotes, such as \"1000.00\""))
        }
        Cell::Labels(_) | Cell::Other(_) => Err(format!("{column} must be text in quotes, or null")),
    }
}

/// The problem of unknown columns.
pub(super) fn unknown<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 5;
    const SHOWN_CHARACTERS_MAX: usize = 32;
    let shown = columns.into_iter().take(SHOWN_MAX);
    let shown: Vec<_> = shown
        .map(|column| format!("{:?}", column.chars().take(SHOWN_CHARACTERS_MAX).collect::<String>()))
        .collect();
    format!("unknown column {}; the columns are {}", shown.join(", "), COLUMNS.join(", "))
}

/// Reads labels: `key=value;key=value`, or a JSON object, in which values may have any character.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.starts_with('{') {
        let Members(labels) = serde_json::from_str(text)
            .map_err(|error| format!("labels are not an object of texts: {}", problem(&error)))?;
        return Ok(labels.into_iter().collect());
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

/// What is wrong with a line of JSON, without the position: it counts within the line.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    problem.split_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem).to_owned()
}
