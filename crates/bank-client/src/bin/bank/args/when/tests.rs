use super::*;

fn in_zone(name: &str) -> Zone {
    Zone { zone: zone(name).unwrap() }
}

#[test]
fn days_end_and_begin_in_their_zone() {
    for (zone, text, from, until) in [
        ("UTC", "2026-01-31", "2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999Z"),
        ("Asia/Tokyo", "2026-01-31", "2026-01-30T15:00:00Z", "2026-01-31T14:59:59.999Z"),
        ("UTC", "2026-01-31[Asia/Tokyo]", "2026-01-30T15:00:00Z", "2026-01-31T14:59:59.999Z"),
        // Of 23 and of 25 hours.
        ("Europe/Zurich", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999Z"),
        ("Europe/Zurich", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999Z"),
        // Clocks are put forward at midnight, so the day begins at one.
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T20:59:59.999Z"),
        ("UTC", "1969-12-31", "1969-12-31T00:00:00Z", "1969-12-31T23:59:59.999Z"),
    ] {
        let (zone, day) = (in_zone(zone), when(text).unwrap());
        let shown = (zone.from(&day).unwrap().to_string(), zone.until(&day).unwrap().to_string());
        assert_eq!(shown, (from.to_owned(), until.to_owned()), "{zone:?} {text}");
    }
}

#[test]
fn times_are_of_their_offset_of_the_zone_in_brackets_or_of_the_zone_that_was_named() {
    for (zone, text, shown) in [
        ("UTC", "2026-01-31T12:30:00", "2026-01-31T12:30:00Z"),
        ("UTC", "2026-01-31 12:30", "2026-01-31T12:30:00Z"),
        ("Asia/Tokyo", "2026-01-31T12:30:00", "2026-01-31T03:30:00Z"),
        ("Asia/Tokyo", "2026-01-31T12:30:00.250Z", "2026-01-31T12:30:00.25Z"),
        ("Asia/Tokyo", "2026-01-31T12:30:00+01:00", "2026-01-31T11:30:00Z"),
        ("UTC", "2026-11-30T09:00:00[Asia/Tokyo]", "2026-11-30T00:00:00Z"),
        ("UTC", "2026-11-30T09:00:00+09:00[Asia/Tokyo]", "2026-11-30T00:00:00Z"),
        ("Europe/Zurich", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
    ] {
        let (zone, time) = (in_zone(zone), when(text).unwrap());
        assert_eq!(zone.from(&time).unwrap().to_string(), shown, "{text}");
        assert_eq!(zone.until(&time).unwrap().to_string(), shown, "{text}");
    }
}

/// Entries have whole milliseconds. So the first that is not before a time is the next one, the last not after it
/// the one before.
#[test]
fn fractions_of_a_millisecond_never_widen_a_range() {
    let zone = in_zone("UTC");
    for (text, from, until) in [
        ("2026-01-31T12:00:00.4521Z", "2026-01-31T12:00:00.453Z", "2026-01-31T12:00:00.452Z"),
        ("2026-01-31T12:00:00.4529Z", "2026-01-31T12:00:00.453Z", "2026-01-31T12:00:00.452Z"),
        ("1969-12-31T23:59:59.9995Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z"),
    ] {
        let time = when(text).unwrap();
        assert_eq!(zone.from(&time).unwrap().to_string(), from, "{text}");
        assert_eq!(zone.until(&time).unwrap().to_string(), until, "{text}");
    }
}

#[test]
fn invalid_and_ambiguous_times_are_rejected() {
    for (text, complaint) in [
        ("", "write it like"),
        ("yesterday", "write it like"),
        ("2026-02-30", "write it like"),
        ("31.01.2026", "write it like"),
        ("2026-01-31[Asia/Tokio]", "IANA name"),
        ("2026-01-31T12:00:00[Asia/Tokio]", "IANA name"),
        ("2026-01-31T12:00:00+02:00[Asia/Tokyo]", "write it like"),
        ("2026-01-31T12:00:00Z[", "write it like"),
    ] {
        let error = when(text).unwrap_err();
        assert!(error.contains(complaint), "{text}: {error}");
    }
    let zone = in_zone("Europe/Zurich");
    for (text, complaint) in [
        ("2026-03-29T02:30:00", "does not exist in the time zone Europe/Zurich"),
        ("2026-10-25T02:30:00", "occurs twice"),
    ] {
        let error = zone.from(&when(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    for text in ["-0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9995Z"] {
        assert!(
            when(text).map_err(|_| ()).and_then(|time| zone.from(&time).map_err(|_| ())).is_err(),
            "{text}"
        );
    }
    // What the message says can be used can be, in every zone.
    for zone in ["Pacific/Kiritimati", "Etc/GMT+12"].map(in_zone) {
        for text in ["0001-01-02", "9999-12-29"] {
            let day = when(text).unwrap();
            assert!(zone.from(&day).is_ok() && zone.until(&day).is_ok(), "{zone:?} {text}");
        }
        let error = zone.until(&when("9999-12-31").unwrap()).unwrap_err().to_string();
        assert!(error.contains("from 0001-01-02 to 9999-12-29"), "{error}");
    }
    let error = super::zone("Asia/Tokio").unwrap_err();
    assert!(error.starts_with("write the IANA name"), "{error}");
}

/// A machine without a database of time zones has ours.
#[test]
fn zones_need_nothing_on_the_machine() {
    assert!(jiff::tz::TimeZoneDatabase::bundled().get("Asia/Tokyo").is_ok());
}
