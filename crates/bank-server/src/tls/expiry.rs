//! Warns before a certificate expires.

use std::{fmt, time::Duration};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{DateTime, Decode as _},
};

/// How long before it expires a certificate is warned about: enough time to replace it by hand.
const NOTICE: Duration = Duration::from_hours(14 * 24);

/// The expiry of a certificate.
#[derive(Debug)]
pub(super) struct Expiry {
    expires_at: DateTime,
    /// What the log says so far.
    logged: Validity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Valid,
    ExpiresSoon,
    Expired,
}

impl Expiry {
    /// Reads the expiry; `None` if the certificate is malformed.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let expires_at = certificate.tbs_certificate().validity().not_after.to_date_time();
        Some(Self { expires_at, logged: Validity::Valid })
    }

    /// Logs a warning, once each, when the certificate expires soon and when it has expired. `now` is the time since
    /// 1970-01-01T00:00:00Z.
    pub(super) fn warn(&mut self, now: Duration) {
        let validity = self.validity(now);
        if validity == self.logged {
            return;
        }
        self.logged = validity;
        match validity {
            Validity::Valid => {}
            Validity::ExpiresSoon => {
                tracing::warn!(expires = %self, "the TLS certificate expires soon: replace it");
            }
            Validity::Expired => {
                tracing::warn!(expired = %self, "the TLS certificate has expired: callers reject it");
            }
        }
    }

    fn validity(&self, now: Duration) -> Validity {
        let expires_at = self.expires_at.unix_duration();
        if expires_at < now {
            Validity::Expired
        } else if expires_at < now + NOTICE {
            Validity::ExpiresSoon
        } else {
            Validity::Valid
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expires_at.fmt(f)
    }
}

#[cfg(test)]
mod tests;
