//! When a certificate ends, and that somebody is told in time.

use std::{fmt, time::Duration};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{DateTime, Decode as _},
};

/// How long before its end a certificate is warned about: time enough to replace it by hand.
const NOTICE: Duration = Duration::from_hours(14 * 24);

/// The end of a certificate, and what has been told of it.
#[derive(Debug)]
pub(super) struct Expiry {
    ends_at: DateTime,
    told: Validity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Lasts,
    EndsSoon,
    Ended,
}

impl Expiry {
    /// That of a certificate; `None` for what is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let ends_at = certificate.tbs_certificate().validity().not_after.to_date_time();
        Some(Self { ends_at, told: Validity::Lasts })
    }

    /// Writes a warning if the certificate has ended, or soon will; each once. The time is since 1970-01-01T00:00:00Z.
    pub(super) fn warn(&mut self, now: Duration) {
        let validity = self.validity(now);
        if validity == self.told {
            return;
        }
        self.told = validity;
        match validity {
            Validity::Lasts => {}
            Validity::EndsSoon => {
                tracing::warn!(expires = %self, "the TLS certificate ends soon: replace it");
            }
            Validity::Ended => {
                tracing::warn!(expired = %self, "the TLS certificate has ended: callers refuse it");
            }
        }
    }

    fn validity(&self, now: Duration) -> Validity {
        let ends_at = self.ends_at.unix_duration();
        if ends_at < now {
            Validity::Ended
        } else if ends_at < now + NOTICE {
            Validity::EndsSoon
        } else {
            Validity::Lasts
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ends_at.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_read_and_told_in_time() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2030, 6, 15);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let expiry = Expiry::of(certificate.der()).unwrap();
        assert_eq!(expiry.to_string(), "2030-06-15T00:00:00Z");

        let (end, second) = (expiry.ends_at.unix_duration(), Duration::from_secs(1));
        let notice = end.saturating_sub(NOTICE);
        for (now, validity) in [
            (Duration::ZERO, Validity::Lasts),
            (notice, Validity::Lasts),
            (notice + second, Validity::EndsSoon),
            (end, Validity::EndsSoon),
            (end + second, Validity::Ended),
        ] {
            assert_eq!(expiry.validity(now), validity, "{now:?}");
        }
        assert!(Expiry::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
