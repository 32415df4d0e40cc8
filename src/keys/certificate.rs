//! X.509 for one institution: its own authority, and the leaf that its gateway shows.
//!
//! Rule: what is made here verifies with `openssl verify -CAfile ca.crt tls.crt`, and what is read here has been
//! checked in the same way. RFC 5280.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::id::{InstitutionId, random_bytes};

/// How long the authority is valid, in days: ten years.
const CA_DAYS: u64 = 3652;
/// How long a leaf is valid, in days.
const LEAF_DAYS: u64 = 397;
/// A partner's clock may run behind ours; a certificate must not seem to come from the future, in seconds.
const BACKDATED_S: u64 = 3600;
const DAY_S: u64 = 86_400;

/// A certificate and its private key, both as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// Makes the institution's own authority.
pub(super) fn make_authority(id: &InstitutionId, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let key = Zeroizing::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?);
    let certificate = authority_params(id, now).self_signed(&*key)?;
    Ok(Pair { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

/// Makes a leaf with a fresh key for the host in the endpoint, signed by the authority's key.
pub(super) fn make_leaf(
    id: &InstitutionId,
    authority_key: &[u8],
    host: &Host,
    now: Timestamp,
) -> Result<Pair, rcgen::Error> {
    let authority = key_pair(authority_key)?;
    let params = authority_params(id, now);
    let issuer = Issuer::from_params(&params, &*authority);
    let key = Zeroizing::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?);
    let certificate = leaf_params(id, host, now)?.signed_by(&*key, &issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

/// The host of an endpoint, as a certificate can hold it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Host {
    Ip(IpAddr),
    Dns(String),
}

impl Host {
    /// Reads a DNS name or an address; IPv6 with or without brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match ServerName::try_from(bare).ok()? {
            ServerName::IpAddress(ip) => Some(Self::Ip(IpAddr::from(ip))),
            ServerName::DnsName(name) => Some(Self::Dns(name.as_ref().to_owned())),
            _ => None,
        }
    }
}

/// Whether a PKCS#8 key is the one that a certificate was made for.
pub(super) fn belongs(key: &[u8], certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    key_pair(key).is_ok_and(|key| key.subject_public_key_info() == parsed.public_key().raw)
}

/// Whether the chain's leaf was issued by the authority, for servers and for clients. Time is left to the handshake.
pub(super) fn issued_by(chain: &[CertificateDer<'_>], authority: &CertificateDer<'_>) -> bool {
    let verify = || {
        let (leaf, intermediates) = chain.split_first()?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(lifetime(leaf)?.0.as_second()).ok()?));
        let anchors = [anchor_from_trusted_cert(authority).ok()?];
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, intermediates, at, usage, None, None)
                .ok()?;
        }
        Some(())
    };
    verify().is_some()
}

/// From when until when a certificate is valid; `None` if it cannot be read.
pub(super) fn lifetime(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    let from = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
    Some((from, Timestamp::from_second(validity.not_after.timestamp()).ok()?))
}

/// The institution that an authority of ours names: its subject is exactly one common name.
pub(super) fn institution(certificate: &CertificateDer<'_>) -> Option<InstitutionId> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.parse().ok()?;
    names.next().is_none().then_some(name)
}

fn key_pair(pkcs8: &[u8]) -> Result<Zeroizing<KeyPair>, rcgen::Error> {
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map(Zeroizing::new)
}

fn authority_params(id: &InstitutionId, now: Timestamp) -> CertificateParams {
    let mut params = dated(now, CA_DAYS);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(id: &InstitutionId, host: &Host, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(now, LEAF_DAYS);
    // Not the authority's own name: a leaf with that name would look self-signed.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, id.as_str());
    params.distinguished_name.push(DnType::CommonName, "medseal gateway");
    params.subject_alt_names = vec![match host {
        Host::Ip(ip) => SanType::IpAddress(*ip),
        Host::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
    }];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn dated(now: Timestamp, days: u64) -> CertificateParams {
    let since_epoch = u64::try_from(now.as_second()).expect("the clock stands after 1970");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut serial: [u8; 16] = random_bytes();
    // RFC 5280 wants a positive number of minimal length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(since_epoch.saturating_sub(BACKDATED_S));
    params.not_after = epoch + Duration::from_secs(since_epoch + days * DAY_S);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}
