//! TLS between gateways: who may connect, and who answers.
//!
//! Rule: the only file that builds a TLS configuration, and every one is TLS 1.3 with both sides authenticated. A peer
//! is known by the authority on its card alone; peers change while connections are served, and the next handshake sees
//! it. No tickets, no resumption, no early data: each of them would carry trust past its end. RFC 8446, RFC 5280.

mod failure;
mod verifier;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

pub use failure::TlsFailure;
use verifier::{Peers, Verifier};

use crate::clock::Clock;
use crate::config::PostQuantum;
use crate::id::InstitutionId;
use crate::keys::Keys;
use crate::reason::Reason;

/// The protocol spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// Why no TLS configuration can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The gateway's own key or certificate is of no use.
    #[error("the gateway's own certificate cannot be used")]
    OwnCertificate(#[source] rustls::Error),
    /// The library refused the configuration.
    #[error("the TLS configuration cannot be made")]
    Configuration(#[source] rustls::Error),
    /// No such partner is trusted now.
    #[error("{partner} is not a partner that may connect now")]
    UnknownPartner {
        /// Who was to be dialled.
        partner: InstitutionId,
    },
}

impl TlsError {
    /// The stable code for a person and for the log.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::OwnCertificate(_) | Self::Configuration(_) => Reason::Internal,
            Self::UnknownPartner { .. } => Reason::PartnerUnknown,
        }
    }
}

/// Whom to trust as one partner.
#[derive(Clone, Debug)]
pub struct PeerTrust {
    /// The partner.
    pub id: InstitutionId,
    /// The authorities on its card that count now; several while it changes from one to the next.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The TLS of one gateway; clones share peers and identity.
#[derive(Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    peers: Arc<Peers>,
    identity: Arc<Identity>,
    clock: Clock,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// TLS with this gateway's certificate and with no peer yet, by the system's clock.
    pub fn new(keys: &Keys, post_quantum: PostQuantum) -> Result<Self, TlsError> {
        Self::with_clock(keys, post_quantum, Clock::system())
    }

    /// Like [`Tls::new`], by a clock that is handed in.
    pub fn with_clock(keys: &Keys, post_quantum: PostQuantum, clock: Clock) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(post_quantum));
        let peers = Arc::new(Peers::default());
        let identity = Arc::new(Identity(RwLock::new(certified(&provider, keys)?)));
        let verifier = Arc::new(Verifier::of_everyone(Arc::clone(&peers), &provider));
        let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Configuration)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&identity) as Arc<dyn ResolvesServerCert>);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { provider, peers, identity, clock, server: Arc::new(server) })
    }

    /// Replaces all peers at once. Whoever is not named is refused from the next handshake on.
    pub fn set_peers(&self, peers: Vec<PeerTrust>) {
        let mut merged: BTreeMap<InstitutionId, Vec<CertificateDer<'static>>> = BTreeMap::new();
        for peer in peers {
            merged.entry(peer.id).or_default().extend(peer.certificates);
        }
        self.peers.replace(merged);
    }

    /// Whether this partner may connect and be dialled now.
    pub fn knows(&self, partner: &InstitutionId) -> bool {
        self.peers.has(partner)
    }

    /// Shows another certificate from the next handshake on, after a renewal.
    pub fn set_identity(&self, keys: &Keys) -> Result<(), TlsError> {
        let renewed = certified(&self.provider, keys)?;
        *self.identity.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// The configuration for connections that partners open; it follows later changes of peers and identity.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The configuration for a connection to one partner, at whose address nobody else is accepted.
    pub fn client_config(&self, partner: &InstitutionId) -> Result<Arc<ClientConfig>, TlsError> {
        if !self.peers.has(partner) {
            return Err(TlsError::UnknownPartner { partner: partner.clone() });
        }
        let verifier = Arc::new(Verifier::of_one(Arc::clone(&self.peers), &self.provider, partner.clone()));
        let mut client = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(self.clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Configuration)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&self.identity) as Arc<dyn ResolvesClientCert>);
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(client))
    }

    /// The partner that a client's chain belongs to, by peers and time as they are now.
    ///
    /// Ask again at each request: a partner that was suspended since the handshake is `None`.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Option<InstitutionId> {
        let (leaf, intermediates) = chain.split_first()?;
        self.peers.identify(leaf, intermediates, self.clock.current_time()?).ok()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// The certificate that this gateway shows, to servers and to clients alike.
struct Identity(RwLock<Arc<CertifiedKey>>);

impl Identity {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(hidden)")
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn provider(post_quantum: PostQuantum) -> CryptoProvider {
    const REQUIRED: &[&dyn SupportedKxGroup] = &[kx_group::X25519MLKEM768];
    const PREFERRED: &[&dyn SupportedKxGroup] = &[kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    let groups = match post_quantum {
        PostQuantum::Require => REQUIRED,
        PostQuantum::Prefer => PREFERRED,
    };
    CryptoProvider {
        // The fastest first: what travels inside is sealed already.
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: groups.to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

fn certified(provider: &CryptoProvider, keys: &Keys) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = provider.key_provider.load_private_key(keys.tls_private_key()).map_err(TlsError::OwnCertificate)?;
    let certified = CertifiedKey::new(keys.tls_chain().to_vec(), key);
    certified.keys_match().map_err(TlsError::OwnCertificate)?;
    Ok(Arc::new(certified))
}
