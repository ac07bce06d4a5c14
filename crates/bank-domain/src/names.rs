//! Enums whose values have one name each, for printing, parsing and storing.

/// The text is not the name of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a {choice}; it is one of {}", .known.join(", "))]
pub struct UnknownName {
    /// The text, cut to 32 characters.
    pub name: String,
    /// What the text should have named: `day count`.
    pub choice: &'static str,
    /// All valid names.
    pub known: &'static [&'static str],
}

/// Defines an enum with a stable name for each value.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident, $choice:literal {
            $($(#[$variant_attribute:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$variant_attribute])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as it is stored and printed.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::names::UnknownName {
                        name: name.chars().take(32).collect(),
                        choice: $choice,
                        known: &[$($name),+],
                    }),
                }
            }
        }
    };
}

pub(crate) use named;
