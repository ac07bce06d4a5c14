use super::*;

/// The codes with minor units of ISO 4217 list one, as published on 2026-01-01: funds codes are among them,
/// precious metals and units without an exponent (XAU, XDR, XSU) are not.
const LIST_ONE: &str = "\
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
    CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP \
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR \
    KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN \
    MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD \
    SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX \
    USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

#[test]
fn accounts_can_be_opened_in_what_is_on_list_one_and_in_nothing_else() {
    for code in LIST_ONE.split_ascii_whitespace() {
        let currency: Currency = code.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(currency.require_active(), Ok(()));
    }
    let letters = || b'A'..=b'Z';
    let codes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    let mut withdrawn = Vec::new();
    for code in codes.map(|code| String::from_utf8(code.to_vec()).unwrap()) {
        let Ok(currency) = code.parse::<Currency>() else { continue };
        match currency.require_active() {
            Ok(()) => assert!(LIST_ONE.contains(&code), "{code} is not on list one as it is here"),
            Err(error) => withdrawn.push((error.currency.code(), error.since)),
        }
    }
    assert_eq!(withdrawn, WITHDRAWN);
}

#[test]
fn what_replaced_a_withdrawn_currency_is_in_force() {
    for (old, new) in [("BGN", "EUR"), ("CUC", "CUP"), ("HRK", "EUR"), ("SLL", "SLE"), ("ZWL", "ZWG")] {
        let [old, new] = [old, new].map(|code| code.parse::<Currency>().unwrap());
        assert!(old.require_active().is_err() && new.require_active().is_ok(), "{old} {new}");
    }
    // In force at the same time.
    for code in ["VES", "VED"] {
        assert!(code.parse::<Currency>().unwrap().require_active().is_ok(), "{code}");
    }
}
