use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

#[test]
fn a_certificate_is_warned_about_before_it_expires() {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2030, 6, 15);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let expiry = Expiry::of(certificate.der()).unwrap();
    assert_eq!(expiry.to_string(), "2030-06-15T00:00:00Z");

    let (end, second) = (expiry.expires_at.unix_duration(), Duration::from_secs(1));
    let notice = end.saturating_sub(NOTICE);
    for (now, validity) in [
        (Duration::ZERO, Validity::Valid),
        (notice, Validity::Valid),
        (notice + second, Validity::ExpiresSoon),
        (end, Validity::ExpiresSoon),
        (end + second, Validity::Expired),
    ] {
        assert_eq!(expiry.validity(now), validity, "{now:?}");
    }
    assert!(Expiry::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
}
