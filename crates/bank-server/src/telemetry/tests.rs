use anyhow::Context as _;

use super::*;

#[test]
fn each_cause_is_mentioned_once() {
    let cause = EnvFilter::builder().parse("=,=").unwrap_err();
    let text = format!("log.filter: {cause}");
    assert_eq!(in_full(&anyhow::Error::from(cause).context(text.clone())), text);
    let cause = io::Error::other("the cause");
    let error = Err::<(), _>(cause).context("the effect").unwrap_err();
    assert_eq!(in_full(&error), "the effect: the cause");
}

#[test]
fn the_level_applies_to_the_bank_and_the_filter_to_all() {
    let log = |level: &str, directives: &str| LogOptions {
        level: level.to_owned(),
        filter: directives.to_owned(),
        format: LogFormat::Json,
    };
    for (log, expected) in [
        (log("info", ""), "bank=info,warn"),
        (log("error", ""), "bank=error,error"),
        (log("debug", "h2=trace,bank_store=trace"), "bank_store=trace,bank=debug,h2=trace,warn"),
    ] {
        assert_eq!(filter(&log).unwrap().to_string(), expected);
    }
}
