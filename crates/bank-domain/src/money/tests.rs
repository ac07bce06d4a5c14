use super::*;

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

#[test]
fn money_prints_and_parses_exactly() {
    for (code, minor_units, shown, decimal) in [
        ("USD", 100_000, "$1000.00", "1000.00"),
        ("USD", 0, "$0.00", "0.00"),
        ("USD", -5, "-$0.05", "-0.05"),
        ("USD", i64::MAX, "$92233720368547758.07", "92233720368547758.07"),
        ("USD", i64::MIN, "-$92233720368547758.08", "-92233720368547758.08"),
        ("EUR", 1, "€0.01", "0.01"),
        ("JPY", 500, "¥500", "500"),
        ("KWD", 1_234, "1.234 KWD", "1.234"),
        ("CHF", -1_000, "-10.00 CHF", "-10.00"),
    ] {
        let money = Money { currency: currency(code), minor_units };
        assert_eq!(money.to_string(), shown);
        assert_eq!(money.to_decimal(), decimal);
        assert_eq!(Money::parse_decimal(decimal, currency(code)), Ok(money));
    }
}

#[test]
fn short_amounts_are_filled_up() {
    for (text, minor_units) in [("1000", 100_000), ("1000.5", 100_050), ("-3", -300), ("007.10", 710)] {
        assert_eq!(Money::parse_decimal(text, Currency::USD).unwrap().minor_units, minor_units, "{text}");
    }
}

#[test]
fn invalid_amounts_are_rejected_with_the_reason() {
    for (text, message) in [
        ("", "\"\" is not an amount; write it like 1000.00"),
        ("-", "\"-\" is not an amount; write it like 1000.00"),
        (".5", "\".5\" is not an amount; write it like 1000.00"),
        ("5.", "\"5.\" is not an amount; write it like 1000.00"),
        ("+5", "\"+5\" is not an amount; write it like 1000.00"),
        ("1,000.00", "\"1,000.00\" is not an amount; write it like 1000.00"),
        ("1e3", "\"1e3\" is not an amount; write it like 1000.00"),
        ("--1", "\"--1\" is not an amount; write it like 1000.00"),
        ("１", "\"１\" is not an amount; write it like 1000.00"),
        ("1000.005", "1000.005 has 3 decimals; USD has 2"),
        ("92233720368547758.08", "the amount is out of range: minor units are 64-bit integers"),
    ] {
        let error = Money::parse_decimal(text, Currency::USD).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn exponents_are_those_of_iso_4217() {
    for (code, exponent) in
        [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4), ("UYW", 4)]
    {
        assert_eq!(currency(code).exponent(), exponent, "{code}");
    }
    for code in ["", "US", "usd", "USDX", "XAU", "XDR", "XXX", "ÜSD", "\0\0\0"] {
        assert!(code.parse::<Currency>().is_err(), "{code:?}");
    }
}

#[test]
fn arithmetic_at_the_ends_gives_errors() {
    let max = Money { currency: Currency::USD, minor_units: i64::MAX };
    let min = Money { currency: Currency::USD, minor_units: i64::MIN };
    let one = Money { currency: Currency::USD, minor_units: 1 };
    assert_eq!(max.checked_add(one), Err(Overflow));
    assert_eq!(min.checked_add(one.checked_neg().unwrap()), Err(Overflow));
    assert_eq!(min.checked_neg(), Err(Overflow));
    assert_eq!(max.checked_neg().unwrap().minor_units, -i64::MAX);
    assert_eq!(max.checked_add(min).unwrap().minor_units, -1);
}

#[test]
fn requests_move_positive_amounts() {
    assert_eq!(Amount::try_new(None, 0), Err(InvalidAmount::NotPositive { minor_units: 0 }));
    assert_eq!(Amount::try_new(None, i64::MIN), Err(InvalidAmount::NotPositive { minor_units: i64::MIN }));
    let largest = Amount::try_new(None, i64::MAX).unwrap();
    assert_eq!(largest.at_most(i64::MAX), Ok(largest));
    let too_large = InvalidAmount::TooLarge { minor_units: i64::MAX, max: 9 };
    assert_eq!(largest.at_most(9), Err(too_large));
    assert_eq!(OverdraftLimit::try_new(None, i64::MAX).unwrap().at_most(9), Err(too_large));
    assert!(OverdraftLimit::try_new(None, 9).unwrap().at_most(9).is_ok());
    assert!(OverdraftLimit::try_new(None, 0).is_ok());
    assert_eq!(OverdraftLimit::try_new(None, -1), Err(InvalidAmount::Negative { minor_units: -1 }));
}
