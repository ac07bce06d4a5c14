//! Decimal numbers as people write them: `1000.00`, `-3`.

/// The longest text that is read, in bytes.
const LENGTH_MAX: usize = 64;

/// The sign, the whole digits and the decimals of a number: `-1.50` is `("-", "1", "50")`.
///
/// `None` for anything but digits, with an optional minus sign in front and an optional point between them.
pub(crate) fn split_decimal(text: &str) -> Option<(&'static str, &str, &str)> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = !whole.is_empty() && is_digits(whole) && is_digits(fraction) && text.len() <= LENGTH_MAX;
    is_number.then_some((sign, whole, fraction))
}
