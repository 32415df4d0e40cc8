//! What a failed connection means for whoever wanted it.
//!
//! Rule: an outage, a stranger at the partner's address and a certificate that has ended are told apart, since a person
//! does something else about each.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::reason::Reason;

/// Why a connection between gateways did not come about, or broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// A certificate does not count yet: one of the two clocks is wrong, or it is early.
    #[error("the other gateway's certificate does not count yet")]
    NotYet,
    /// A certificate has ended.
    #[error("the other gateway's certificate has ended")]
    OutOfDate,
    /// What was spoken is not the TLS that medseal speaks.
    #[error("the other side does not speak TLS 1.3 with the key exchange that is required here")]
    Protocol,
    /// The other side does not accept our certificate.
    #[error("the other gateway does not accept our certificate")]
    RefusedByPeer,
    /// Nobody answers, or the line broke.
    #[error("the other gateway cannot be reached")]
    Unreachable,
    /// Somebody answers who is not the partner.
    #[error("the certificate shown is not the partner's")]
    WrongIdentity,
}

impl TlsFailure {
    /// Reads it off the error of a connection, a handshake, or of the first read or write after it.
    ///
    /// With TLS 1.3 a client learns only then that its certificate was refused.
    pub fn of(error: &io::Error) -> Self {
        error.get_ref().and_then(|inner| inner.downcast_ref()).map_or(Self::Unreachable, Self::of_tls)
    }

    /// Reads it off rustls's own error.
    pub fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::OutOfDate,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
                _ => Self::WrongIdentity,
            },
            Error::NoCertificatesPresented => Self::WrongIdentity,
            Error::AlertReceived(
                AlertDescription::AccessDenied
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate,
            ) => Self::RefusedByPeer,
            _ => Self::Protocol,
        }
    }

    /// The stable code for a person and for the log.
    pub const fn reason(self) -> Reason {
        match self {
            Self::NotYet => Reason::PartnerNotYet,
            Self::OutOfDate => Reason::PartnerExpired,
            Self::RefusedByPeer => Reason::PartnerRefused,
            Self::Protocol | Self::Unreachable => Reason::PartnerUnreachable,
            Self::WrongIdentity => Reason::WrongPartner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_a_stranger_and_an_ended_certificate_are_told_apart() {
        let tls = |error| TlsFailure::of(&io::Error::other(error));
        assert_eq!(TlsFailure::of(&io::ErrorKind::ConnectionRefused.into()), TlsFailure::Unreachable);
        assert_eq!(tls(Error::from(CertificateError::UnknownIssuer)), TlsFailure::WrongIdentity);
        assert_eq!(tls(Error::from(CertificateError::NotValidForName)), TlsFailure::WrongIdentity);
        assert_eq!(tls(Error::from(CertificateError::Expired)), TlsFailure::OutOfDate);
        assert_eq!(tls(Error::from(CertificateError::NotValidYet)), TlsFailure::NotYet);
        assert_eq!(tls(Error::AlertReceived(AlertDescription::UnknownCA)), TlsFailure::RefusedByPeer);
        assert_eq!(tls(Error::AlertReceived(AlertDescription::HandshakeFailure)), TlsFailure::Protocol);
        assert_eq!(tls(Error::HandshakeNotComplete), TlsFailure::Protocol);
        assert_eq!(TlsFailure::WrongIdentity.reason(), Reason::WrongPartner);
        assert_eq!(TlsFailure::Unreachable.reason(), Reason::PartnerUnreachable);
    }
}
