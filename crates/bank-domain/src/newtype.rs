//! Conversions of types that are checked by their `FromStr`.

/// Lets serde read and write a type as text. `$to_text` is the method that gives the text.
macro_rules! stored_as_text {
    ($name:ident, $error:ty, $to_text:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.$to_text().into()
            }
        }

        impl From<&$name> for String {
            fn from(value: &$name) -> Self {
                value.$to_text().into()
            }
        }
    };
}

/// The same for a type that holds its text, which it also prints.
macro_rules! text_newtype {
    ($name:ident, $error:ty, $to_text:ident) => {
        $crate::newtype::stored_as_text!($name, $error, $to_text);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.$to_text())
            }
        }
    };
}

pub(crate) use {stored_as_text, text_newtype};
