//! The names of choices, as they are stored and printed.

/// The text names none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a {choice}; it is one of {known}")]
pub struct UnknownName {
    /// What was given, cut to a readable length.
    pub name: String,
    /// What it should have named.
    pub choice: &'static str,
    /// The names there are.
    pub known: String,
}

/// Gives an enum its names in one place: for printing, parsing and storing.
macro_rules! names {
    ($type:ident, $choice:literal, $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// All there are, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as it is stored and printed.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::interest::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::interest::UnknownName {
                        name: name.chars().take(32).collect(),
                        choice: $choice,
                        known: [$($name),+].join(", "),
                    }),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::interest::UnknownName;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(choice: $type) -> Self {
                choice.as_str().to_owned()
            }
        }
    };
}

pub(super) use names;
