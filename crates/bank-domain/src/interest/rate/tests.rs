use super::*;

fn rate(text: &str) -> AnnualRate {
    text.parse().unwrap()
}

#[test]
fn rates_print_in_one_form() {
    for (text, printed, for_people) in [
        ("2.5", "2.5", "2.5000%"),
        ("2.50", "2.5", "2.5000%"),
        ("2.5000000000", "2.5", "2.5000%"),
        ("002.5", "2.5", "2.5000%"),
        ("0", "0", "0.0000%"),
        ("-0", "0", "0.0000%"),
        ("-0.000", "0", "0.0000%"),
        ("-0.25", "-0.25", "-0.2500%"),
        ("100", "100", "100.0000%"),
        ("1000", "1000", "1000.0000%"),
        ("-1000.0000000000", "-1000", "-1000.0000%"),
        ("3.12345", "3.12345", "3.12345%"),
        ("0.0000000001", "0.0000000001", "0.0000000001%"),
        ("-999.9999999999", "-999.9999999999", "-999.9999999999%"),
    ] {
        assert_eq!(rate(text).to_string(), printed, "{text}");
        assert_eq!(rate(text).to_percent_string(), for_people, "{text}");
        assert_eq!(rate(printed), rate(text), "{text}");
    }
}

#[test]
fn invalid_rates_are_rejected_with_the_reason() {
    for (text, message) in [
        ("", "\"\" is not a rate; write percent a year like 2.5"),
        ("-", "\"-\" is not a rate; write percent a year like 2.5"),
        ("+2", "\"+2\" is not a rate; write percent a year like 2.5"),
        (" 2", "\" 2\" is not a rate; write percent a year like 2.5"),
        ("2 ", "\"2 \" is not a rate; write percent a year like 2.5"),
        (".5", "\".5\" is not a rate; write percent a year like 2.5"),
        ("5.", "\"5.\" is not a rate; write percent a year like 2.5"),
        ("2,5", "\"2,5\" is not a rate; write percent a year like 2.5"),
        ("2_5", "\"2_5\" is not a rate; write percent a year like 2.5"),
        ("2.5%", "\"2.5%\" is not a rate; write percent a year like 2.5"),
        ("2.5e0", "\"2.5e0\" is not a rate; write percent a year like 2.5"),
        ("1.2.3", "\"1.2.3\" is not a rate; write percent a year like 2.5"),
        ("--1", "\"--1\" is not a rate; write percent a year like 2.5"),
        ("NaN", "\"NaN\" is not a rate; write percent a year like 2.5"),
        ("２", "\"２\" is not a rate; write percent a year like 2.5"),
        ("0.00000000001", "0.00000000001 has 11 decimals; a rate has at most 10"),
        ("2.50000000000", "2.50000000000 has 11 decimals; a rate has at most 10"),
        ("1000.0000000001", "1000.0000000001 is outside -1000 to 1000 percent a year"),
        ("-1000.1", "-1000.1 is outside -1000 to 1000 percent a year"),
        ("1001", "1001 is outside -1000 to 1000 percent a year"),
        (
            "99999999999999999999999999999999999999999",
            "99999999999999999999999999999999999999999 is outside -1000 to 1000 percent a year",
        ),
    ] {
        assert_eq!(text.parse::<AnnualRate>().unwrap_err().to_string(), message);
    }
}

#[test]
fn fractions_are_exact() {
    for (text, numerator, denominator) in [
        ("2.5", 1, 40),
        ("-0.25", -1, 400),
        ("0", 0, 1),
        ("1000", 10, 1),
        ("0.0000000001", 1, 1_000_000_000_000),
    ] {
        assert_eq!(rate(text).to_fraction(), Ratio::new(numerator, denominator), "{text}");
    }
}

#[test]
fn rates_are_stored_as_text() {
    assert_eq!(serde_json::to_string(&rate("2.50")).unwrap(), "\"2.5\"");
    assert_eq!(serde_json::from_str::<AnnualRate>("\"-0.25\"").unwrap(), rate("-0.25"));
    assert!(serde_json::from_str::<AnnualRate>("\"1001\"").is_err());
    assert!(serde_json::from_str::<AnnualRate>("2.5").is_err());
}
