//! Decides whose certificate it is that a peer shows.
//!
//! Rule: everything counts at once: chain, time, usage, and for a server the name that was dialled; the authority's own
//! validity as well, which webpki leaves aside. A certificate that fits two partners belongs to neither.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::id::InstitutionId;

/// The partners that may connect now, by the authorities on their cards.
#[derive(Default)]
pub(super) struct Peers(RwLock<Arc<Book>>);

type Book = BTreeMap<InstitutionId, Vec<Authority>>;

/// An authority and its own validity, in seconds since 1970.
struct Authority {
    anchor: TrustAnchor<'static>,
    not_before_s: u64,
    not_after_s: u64,
}

impl Peers {
    pub(super) fn replace(&self, peers: BTreeMap<InstitutionId, Vec<CertificateDer<'static>>>) {
        let mut book = Book::new();
        for (id, certificates) in peers {
            let authorities = certificates.iter().filter_map(Authority::read).collect::<Vec<_>>();
            if authorities.len() < certificates.len() {
                tracing::error!(partner = %id, "an authority on the partner's card cannot be read: not trusted");
            }
            book.insert(id, authorities);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
    }

    pub(super) fn has(&self, id: &InstitutionId) -> bool {
        self.book().contains_key(id)
    }

    /// The one partner that a client's certificate belongs to.
    pub(super) fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<InstitutionId, Error> {
        let mut owner = None;
        let mut why = CertificateError::UnknownIssuer;
        for (id, authorities) in self.book().iter() {
            match check(authorities, leaf, intermediates, now, KeyUsage::client_auth()) {
                Ok(()) if owner.is_some() => return Err(CertificateError::UnknownIssuer.into()),
                Ok(()) => owner = Some(id.clone()),
                Err(other) => why = clearer(why, other),
            }
        }
        owner.ok_or_else(|| why.into())
    }

    /// Whether a server's certificate belongs to this partner and to the name that was dialled.
    fn confirm(
        &self,
        partner: &InstitutionId,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let book = self.book();
        let authorities = book.get(partner).ok_or(CertificateError::UnknownIssuer)?;
        check(authorities, leaf, intermediates, now, KeyUsage::server_auth())?;
        let leaf = EndEntityCert::try_from(leaf).map_err(explain)?;
        leaf.verify_is_valid_for_subject_name(name).map_err(|_| CertificateError::NotValidForName)?;
        Ok(())
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.book().keys()).finish()
    }
}

impl Authority {
    fn read(certificate: &CertificateDer<'static>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Self {
            anchor: anchor_from_trusted_cert(certificate).ok()?.to_owned(),
            not_before_s: u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or(0),
            not_after_s: u64::try_from(parsed.validity().not_after.timestamp()).ok()?,
        })
    }
}

/// The verifier for either side: of everyone who knocks, or of the one partner that is dialled.
#[derive(Debug)]
pub(super) struct Verifier {
    peers: Arc<Peers>,
    algorithms: WebPkiSupportedAlgorithms,
    dialled: Option<InstitutionId>,
}

impl Verifier {
    pub(super) fn of_everyone(peers: Arc<Peers>, provider: &CryptoProvider) -> Self {
        Self { peers, algorithms: provider.signature_verification_algorithms, dialled: None }
    }

    pub(super) fn of_one(peers: Arc<Peers>, provider: &CryptoProvider, partner: InstitutionId) -> Self {
        Self { peers, algorithms: provider.signature_verification_algorithms, dialled: Some(partner) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let partner = self.dialled.as_ref().ok_or(CertificateError::ApplicationVerificationFailure)?;
        self.peers.confirm(partner, end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// None: the list of partners is nobody's business, and it changes while the server runs.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.peers.identify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether one of a partner's authorities issued the leaf, for this usage and at this time.
fn check(
    authorities: &[Authority],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), CertificateError> {
    let leaf = EndEntityCert::try_from(leaf).map_err(explain)?;
    let mut why = CertificateError::UnknownIssuer;
    for authority in authorities {
        let anchor = std::slice::from_ref(&authority.anchor);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match leaf.verify_for_usage(algorithms, anchor, intermediates, now, usage, None, None) {
            Ok(_) => match authority.stands(now) {
                Ok(()) => return Ok(()),
                Err(error) => why = clearer(why, error),
            },
            Err(error) => why = clearer(why, explain(error)),
        }
    }
    Err(why)
}

impl Authority {
    fn stands(&self, now: UnixTime) -> Result<(), CertificateError> {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        if now.as_secs() < self.not_before_s {
            return Err(CertificateError::NotValidYetContext { time: now, not_before: at(self.not_before_s) });
        }
        if now.as_secs() > self.not_after_s {
            return Err(CertificateError::ExpiredContext { time: now, not_after: at(self.not_after_s) });
        }
        Ok(())
    }
}

/// Of two reasons the one that says more than that the issuer is unknown.
fn clearer(one: CertificateError, other: CertificateError) -> CertificateError {
    if matches!(one, CertificateError::UnknownIssuer) { other } else { one }
}

#[allow(clippy::needless_pass_by_value, reason = "used with map_err")]
fn explain(error: webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::CaUsedAsEndEntity => {
            CertificateError::InvalidPurpose
        }
        webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => {
            CertificateError::BadEncoding
        }
        _ => CertificateError::UnknownIssuer,
    }
}
