//! Who may connect: real handshakes on loopback, each refusal beside a connection that works.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use medseal::clock::{Clock, Timestamp};
use medseal::config::PostQuantum;
use medseal::id::InstitutionId;
use medseal::keys::Keys;
use medseal::reason::Reason;
use medseal::tls::{PeerTrust, Tls, TlsError, TlsFailure};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::needs;

const GREETING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// One institution with its own keys and clock.
struct Side {
    _home: tempfile::TempDir,
    dir: PathBuf,
    id: InstitutionId,
    keys: Keys,
    clock: Clock,
    tls: Tls,
}

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn side(id: &str, post_quantum: PostQuantum) -> Side {
    side_at(id, post_quantum, Clock::set_to(start()))
}

fn side_at(id: &str, post_quantum: PostQuantum, clock: Clock) -> Side {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("keys");
    let id: InstitutionId = id.parse().expect("an id");
    let keys = Keys::create(&dir, &id, "127.0.0.1", clock.now()).expect("keys");
    let tls = Tls::with_clock(&keys, post_quantum, clock.clone()).expect("a TLS");
    Side { _home: home, dir, id, keys, clock, tls }
}

fn trust(side: &Side, peers: &[&Side]) {
    let of = |peer: &&Side| PeerTrust { id: peer.id.clone(), certificates: vec![peer.keys.ca_certificate().clone()] };
    side.tls.set_peers(peers.iter().map(of).collect());
}

/// A hospital that is dialled and an expert that dials; each knows the other.
fn two() -> (Side, Side) {
    let (hospital, expert) = (side("hospital", PostQuantum::Require), side("expert", PostQuantum::Require));
    trust(&hospital, &[&expert]);
    trust(&expert, &[&hospital]);
    (hospital, expert)
}

fn dial(from: &Side, to: &Side) -> Arc<ClientConfig> {
    from.tls.client_config(&to.id).expect("a registered partner")
}

/// A client that has no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What both sides saw of one connection.
#[derive(Debug)]
struct Met {
    server: io::Result<Option<InstitutionId>>,
    client: io::Result<Vec<u8>>,
    group: Option<NamedGroup>,
    version: Option<ProtocolVersion>,
}

impl Met {
    fn greeted(&self) -> bool {
        self.client.as_ref().is_ok_and(|bytes| bytes == GREETING)
    }

    fn client_failure(&self) -> TlsFailure {
        TlsFailure::of(self.client.as_ref().expect_err("the client was greeted"))
    }

    fn server_failure(&self) -> TlsFailure {
        TlsFailure::of(self.server.as_ref().expect_err("the server accepted"))
    }
}

async fn serve_one(listener: &TcpListener, tls: &Tls) -> io::Result<Option<InstitutionId>> {
    let (line, _) = listener.accept().await?;
    let mut line = TlsAcceptor::from(tls.server_config()).accept(line).await?;
    let peer = line.get_ref().1.peer_certificates().and_then(|chain| tls.peer_of(chain));
    line.write_all(GREETING).await?;
    line.shutdown().await?;
    Ok(peer)
}

async fn meet_as(server: &Side, client: Arc<ClientConfig>, name: &str) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut seen = (None, None);
    let dialling = async {
        let line = TcpStream::connect(address).await?;
        let mut line = TlsConnector::from(client).connect(name, line).await?;
        let session = line.get_ref().1;
        seen = (
            session.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name),
            session.protocol_version(),
        );
        let mut bytes = Vec::new();
        line.read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let both = async { tokio::join!(serve_one(&listener, &server.tls), dialling) };
    let (server, client) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("nobody waits for ever");
    Met { server, client, group: seen.0, version: seen.1 }
}

async fn meet(server: &Side, client: &Side) -> Met {
    meet_as(server, dial(client, server), "127.0.0.1").await
}

#[tokio::test]
async fn two_partners_meet_over_post_quantum_tls_1_3() {
    let (hospital, expert) = two();
    let met = meet(&hospital, &expert).await;
    assert!(met.greeted(), "{met:?}");
    assert_eq!(met.server.expect("accepted"), Some(expert.id));
    assert_eq!(met.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(met.version, Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn a_gateway_without_partners_serves_and_refuses_everyone() {
    let (hospital, expert) = two();
    trust(&hospital, &[]);
    let met = meet(&hospital, &expert).await;
    assert!(!met.greeted());
    assert_eq!(met.server_failure(), TlsFailure::WrongIdentity);
    assert_eq!(met.client_failure(), TlsFailure::RefusedByPeer);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let (hospital, expert) = two();
    let mut bare = (*dial(&expert, &hospital)).clone();
    bare.client_auth_cert_resolver = Arc::new(Nobody);
    let met = meet_as(&hospital, Arc::new(bare), "127.0.0.1").await;
    assert!(!met.greeted());
    assert_eq!(met.server_failure(), TlsFailure::WrongIdentity);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (hospital, expert) = two();
    let stranger = side("stranger", PostQuantum::Require);
    trust(&stranger, &[&hospital]);
    let met = meet(&hospital, &stranger).await;
    assert!(!met.greeted());
    assert_eq!(met.server_failure(), TlsFailure::WrongIdentity);
    assert!(meet(&hospital, &expert).await.greeted());
}

#[tokio::test]
async fn an_authority_of_the_right_name_with_another_key_is_refused() {
    let (hospital, expert) = two();
    let impostor = side("expert", PostQuantum::Require);
    trust(&impostor, &[&hospital]);
    let met = meet(&hospital, &impostor).await;
    assert!(!met.greeted());
    assert_eq!(met.server_failure(), TlsFailure::WrongIdentity);
    // And the other way round: the impostor is dialled in the partner's place.
    let false_hospital = side("hospital", PostQuantum::Require);
    trust(&false_hospital, &[&expert]);
    let met = meet_as(&false_hospital, dial(&expert, &hospital), "127.0.0.1").await;
    assert!(!met.greeted());
    assert_eq!(met.client_failure(), TlsFailure::WrongIdentity);
}

#[tokio::test]
async fn another_partner_that_answers_is_not_the_one_that_was_dialled() {
    let (hospital, expert) = two();
    let clinic = side("clinic", PostQuantum::Require);
    trust(&clinic, &[&expert]);
    trust(&expert, &[&hospital, &clinic]);
    assert!(meet(&clinic, &expert).await.greeted());
    let met = meet_as(&clinic, dial(&expert, &hospital), "127.0.0.1").await;
    assert!(!met.greeted());
    assert_eq!(met.client_failure(), TlsFailure::WrongIdentity);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let (hospital, expert) = two();
    for name in ["127.0.0.2", "localhost"] {
        let met = meet_as(&hospital, dial(&expert, &hospital), name).await;
        assert!(!met.greeted(), "{name}");
        assert_eq!(met.client_failure(), TlsFailure::WrongIdentity);
    }
}

#[tokio::test]
async fn a_leaf_that_has_ended_is_refused_on_both_sides() {
    const DAY_S: i64 = 86_400;
    let (mut hospital, mut expert) = two();
    hospital.clock.advance_s(396 * DAY_S);
    expert.clock.advance_s(396 * DAY_S);
    assert!(meet(&hospital, &expert).await.greeted());
    hospital.clock.advance_s(2 * DAY_S);
    let met = meet(&hospital, &expert).await;
    assert_eq!(met.server_failure(), TlsFailure::OutOfDate);
    assert!(!met.greeted());
    expert.clock.advance_s(2 * DAY_S);
    assert_eq!(meet(&hospital, &expert).await.client_failure(), TlsFailure::OutOfDate);
    // A renewal under the same authority mends it, without a new card and without a restart.
    for side in [&mut hospital, &mut expert] {
        side.keys.renew_tls("127.0.0.1", side.clock.now()).expect("renewed");
        side.tls.set_identity(&side.keys).expect("shown");
    }
    assert!(meet(&hospital, &expert).await.greeted());
}

#[tokio::test]
async fn a_leaf_that_does_not_count_yet_is_refused() {
    let (hospital, _) = two();
    let later = Clock::set_to(start());
    later.advance_s(30 * 86_400);
    let expert = side_at("expert", PostQuantum::Require, later);
    trust(&hospital, &[&expert]);
    trust(&expert, &[&hospital]);
    let met = meet(&hospital, &expert).await;
    assert!(!met.greeted());
    assert_eq!(met.server_failure(), TlsFailure::NotYet);
    // The dialling side sees the same of whoever answers: to wait helps, and the reason says so.
    let met = meet(&expert, &hospital).await;
    assert_eq!(met.client_failure(), TlsFailure::NotYet);
    assert_eq!(met.client_failure().reason(), Reason::PartnerNotYet);
    hospital.clock.advance_s(30 * 86_400);
    assert!(meet(&hospital, &expert).await.greeted());
}

#[tokio::test]
async fn an_authority_that_has_ended_is_refused_though_the_leaf_has_not() {
    let (hospital, mut expert) = two();
    for (years, known) in [(9, true), (2, false)] {
        hospital.clock.advance_s(years * 365 * 86_400);
        expert.keys.renew_tls("127.0.0.1", hospital.clock.now()).expect("renewed");
        let peer = hospital.tls.peer_of(expert.keys.tls_chain());
        assert_eq!(peer.is_some(), known, "after {years} more years");
    }
}

#[tokio::test]
async fn a_suspended_partner_is_refused_at_the_next_handshake() {
    let (hospital, expert) = two();
    let other = side("other", PostQuantum::Require);
    let config = dial(&expert, &hospital);
    assert!(meet_as(&hospital, Arc::clone(&config), "127.0.0.1").await.greeted());
    assert_eq!(hospital.tls.peer_of(expert.keys.tls_chain()), Some(expert.id.clone()));

    trust(&hospital, &[&other]);
    assert!(!meet_as(&hospital, Arc::clone(&config), "127.0.0.1").await.greeted());
    assert_eq!(hospital.tls.peer_of(expert.keys.tls_chain()), None);

    trust(&hospital, &[&other, &expert]);
    assert!(meet_as(&hospital, Arc::clone(&config), "127.0.0.1").await.greeted());

    // The dialling side forgets a partner just so, even with a configuration made before.
    trust(&expert, &[&other]);
    assert_eq!(meet_as(&hospital, config, "127.0.0.1").await.client_failure(), TlsFailure::WrongIdentity);
    assert!(matches!(expert.tls.client_config(&hospital.id), Err(TlsError::UnknownPartner { .. })));
}

#[tokio::test]
async fn two_authorities_of_one_partner_overlap() {
    let (hospital, expert) = two();
    let renewed = side("expert", PostQuantum::Require);
    trust(&renewed, &[&hospital]);
    let certificates = vec![expert.keys.ca_certificate().clone(), renewed.keys.ca_certificate().clone()];
    hospital.tls.set_peers(vec![PeerTrust { id: expert.id.clone(), certificates }]);
    for side in [&expert, &renewed] {
        let met = meet(&hospital, side).await;
        assert!(met.greeted());
        assert_eq!(met.server.expect("accepted").as_ref(), Some(&expert.id));
    }
}

#[tokio::test]
async fn an_authority_on_two_cards_belongs_to_nobody() {
    let (hospital, expert) = two();
    let certificates = vec![expert.keys.ca_certificate().clone()];
    let twin = PeerTrust { id: "twin".parse().expect("an id"), certificates: certificates.clone() };
    hospital.tls.set_peers(vec![twin, PeerTrust { id: expert.id.clone(), certificates }]);
    assert!(!meet(&hospital, &expert).await.greeted());
    assert_eq!(hospital.tls.peer_of(expert.keys.tls_chain()), None);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let (hospital, expert) = two();
    let config = dial(&expert, &hospital);
    assert_eq!(hospital.tls.server_config().send_tls13_tickets, 0);
    assert_eq!(hospital.tls.server_config().max_early_data_size, 0);
    for _ in 0..3 {
        let met = meet_as(&hospital, Arc::clone(&config), "127.0.0.1").await;
        // A resumed session shows no certificate; each of these did.
        assert_eq!(met.server.expect("accepted").as_ref(), Some(&expert.id));
    }
}

#[tokio::test]
async fn a_classical_client_meets_prefer_and_not_require() {
    let (strict, expert) = two();
    let open = side("hospital", PostQuantum::Prefer);
    let classical = side("expert", PostQuantum::Prefer);
    trust(&open, &[&expert, &classical]);
    trust(&classical, &[&open]);
    assert_eq!(meet(&open, &classical).await.group, Some(NamedGroup::X25519MLKEM768));

    let Some(openssl) = needs::tool("openssl") else { return };
    trust(&open, &[&classical]);
    trust(&strict, &[&classical]);
    let x25519 = ["-tls1_3", "-groups", "X25519"];
    let greeted = stock(&open, |at| s_client(&openssl, at, &classical.dir, &x25519)).await;
    assert!(contains(&greeted, "hello"), "{greeted:?}");
    let refused = stock(&strict, |at| s_client(&openssl, at, &classical.dir, &x25519)).await;
    assert!(!contains(&refused, "hello"), "{refused:?}");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let Some(openssl) = needs::tool("openssl") else { return };
    let open = side("hospital", PostQuantum::Prefer);
    let partner = side("expert", PostQuantum::Prefer);
    trust(&open, &[&partner]);
    let refused = stock(&open, |at| s_client(&openssl, at, &partner.dir, &["-tls1_2"])).await;
    assert!(!contains(&refused, "hello"), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("alert protocol version"), "{refused:?}");
    let greeted = stock(&open, |at| s_client(&openssl, at, &partner.dir, &["-tls1_3"])).await;
    assert!(contains(&greeted, "hello"), "{greeted:?}");
}

#[tokio::test]
async fn curl_gets_through_with_a_partners_certificate_and_gets_nothing_without() {
    let Some(curl) = needs::tool("curl") else { return };
    let hospital = side_at("hospital", PostQuantum::Prefer, Clock::system());
    let partner = side_at("expert", PostQuantum::Prefer, Clock::system());
    trust(&hospital, &[&partner]);
    let authority = hospital.dir.join("ca.crt");
    let get = |at: SocketAddr, with: &[PathBuf]| {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--http1.1", "--max-time", "20", "--noproxy", "*", "--cacert"]);
        command.arg(&authority);
        if let [certificate, key] = with {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command.arg(format!("https://{at}/"));
        command
    };
    let own = [partner.dir.join("tls.crt"), partner.dir.join("tls.key")];
    let greeted = stock(&hospital, |at| get(at, &own)).await;
    assert_eq!(greeted.stdout, b"hello", "{greeted:?}");
    let refused = stock(&hospital, |at| get(at, &[])).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    trust(&hospital, &[]);
    let refused = stock(&hospital, |at| get(at, &own)).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
}

/// Runs a stock client against one connection of our server.
async fn stock(server: &Side, command: impl FnOnce(SocketAddr) -> Command) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut command = command(listener.local_addr().expect("an address"));
    let running = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().expect("it runs"));
    let both = async { tokio::join!(serve_one(&listener, &server.tls), running) };
    let (_, output) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("nobody waits for ever");
    output.expect("the client ran")
}

fn s_client(openssl: &Path, at: SocketAddr, keys: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(openssl);
    command.args(["s_client", "-quiet", "-ign_eof", "-connect", &at.to_string()]).args(more);
    command.arg("-cert").arg(keys.join("tls.crt")).arg("-key").arg(keys.join("tls.key"));
    command
}

fn contains(output: &Output, text: &str) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(text)
}
