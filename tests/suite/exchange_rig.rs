//! Two gateways' worth of exchange on loopback: real TLS, a real vault, and a sender that speaks raw bytes, so that it
//! can also lie.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use medseal::clock::Clock;
use medseal::config::PostQuantum;
use medseal::id::{BundleId, Digest, InstitutionId};
use medseal::keys::Keys;
use medseal::receive::{self, Answer, Body, Caller, Receiver, Reception};
use medseal::tls::{PeerTrust, Tls};
use medseal::vault::Vault;
use medseal::wire::{self, Code, Handover, Limits, Offer, Pong, Progress, ReceiptAnswer, SegmentHead, TransferId};
use medseal::wire::{ErrorAnswer, RecallRequest, RecalledAnswer, Target, TransferState};
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One institution: its name and its TLS.
pub(crate) struct Institution {
    pub(crate) id: InstitutionId,
    pub(crate) tls: Tls,
    keys: Keys,
    _home: tempfile::TempDir,
}

impl Institution {
    pub(crate) fn new(id: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let id: InstitutionId = id.parse().expect("an id");
        let clock = Clock::system();
        let keys = Keys::create(&home.path().join("keys"), &id, "127.0.0.1", clock.now()).expect("keys");
        let tls = Tls::new(&keys, PostQuantum::Require).expect("a TLS");
        Self { id, tls, keys, _home: home }
    }

    pub(crate) fn trusts(&self, peers: &[&Institution]) {
        let of = |peer: &&Institution| PeerTrust {
            id: peer.id.clone(),
            certificates: vec![peer.keys.ca_certificate().clone()],
        };
        self.tls.set_peers(peers.iter().map(of).collect());
    }
}

/// What the gateway does above the receiver, without log and signatures.
pub(crate) struct Front {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) suspended: Mutex<BTreeSet<InstitutionId>>,
    us: InstitutionId,
    receipts: Mutex<BTreeMap<(InstitutionId, Digest), ReceiptAnswer>>,
    /// What it answers to everyone instead of a receipt of its own making.
    lie: Option<ReceiptAnswer>,
    /// Tells that a handover has begun; it goes on once `gate` can be read.
    pub(crate) begun: tokio::sync::Notify,
    pub(crate) gate: tokio::sync::RwLock<()>,
}

impl Reception for Front {
    fn knows(&self, institution: &InstitutionId) -> bool {
        !self.suspended.lock().expect("a lock").contains(institution)
    }

    fn ping(&self) -> Pong {
        Pong { institution: self.us.clone(), time: "2026-11-22T12:00:00.000000Z".to_owned() }
    }

    fn offer<'a>(&'a self, caller: &'a Caller, offer: Offer) -> Answer<'a, TransferState> {
        Box::pin(async move { self.receiver.offer(&caller.institution, &offer).await.map_err(|error| error.code()) })
    }

    fn segment<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        head: SegmentHead,
        body: &'a mut Body,
    ) -> Answer<'a, Progress> {
        Box::pin(async move {
            let taken = self.receiver.segment(&caller.institution, transfer, &head, body).await;
            taken.map_err(|error| error.code())
        })
    }

    fn progress<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, Progress> {
        Box::pin(
            async move { self.receiver.progress(&caller.institution, transfer).await.map_err(|error| error.code()) },
        )
    }

    fn hand_over<'a>(
        &'a self,
        caller: &'a Caller,
        transfer: &'a TransferId,
        handover: Handover,
    ) -> Answer<'a, ReceiptAnswer> {
        Box::pin(async move {
            if let Some(lie) = &self.lie {
                return Ok(lie.clone());
            }
            let key = (caller.institution.clone(), Digest::of(handover.dispatch.as_bytes()));
            if let Some(receipt) = self.receipts.lock().expect("a lock").get(&key) {
                return Ok(receipt.clone());
            }
            self.begun.notify_one();
            let _open = self.gate.read().await;
            let stored = self.receiver.assemble(&caller.institution, transfer, handover.header).await;
            let stored = stored.map_err(|error| error.code())?;
            let mut receipts = self.receipts.lock().expect("a lock");
            let receipt = format!("receipt {} of {} as {}", receipts.len(), key.1, stored.name);
            let answer = ReceiptAnswer { receipt, signature: "signed".to_owned() };
            receipts.insert(key, answer.clone());
            Ok(answer)
        })
    }

    fn abandon<'a>(&'a self, caller: &'a Caller, transfer: &'a TransferId) -> Answer<'a, ()> {
        Box::pin(async move { self.receiver.forget(&caller.institution, transfer).await.map_err(|error| error.code()) })
    }

    fn recall<'a>(&'a self, _: &'a Caller, _: RecallRequest) -> Answer<'a, RecalledAnswer> {
        Box::pin(async { Err(Code::Refused) })
    }

    fn receipt<'a>(&'a self, caller: &'a Caller, dispatch: &'a Digest) -> Answer<'a, Option<ReceiptAnswer>> {
        let key = (caller.institution.clone(), *dispatch);
        Box::pin(async move {
            let lie = self.lie.clone();
            Ok(lie.or_else(|| self.receipts.lock().expect("a lock").get(&key).cloned()))
        })
    }
}

/// A receiving gateway that listens, and two partners that may send to it.
pub(crate) struct Rig {
    pub(crate) expert: Institution,
    pub(crate) hospital: Institution,
    pub(crate) clinic: Institution,
    pub(crate) front: Arc<Front>,
    pub(crate) address: SocketAddr,
    limits: Limits,
    dir: tempfile::TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Rig {
    pub(crate) async fn new(limits: Limits) -> Self {
        let (expert, hospital) = (Institution::new("heidelberg"), Institution::new("hospital"));
        let clinic = Institution::new("clinic");
        expert.trusts(&[&hospital, &clinic]);
        hospital.trusts(&[&expert]);
        clinic.trusts(&[&expert]);
        let dir = tempfile::tempdir().expect("a folder");
        Vault::create(&dir.path().join("vault"), 0).expect("a vault");
        let front = front(dir.path(), &expert.id, &limits, None);
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut rig = Self { expert, hospital, clinic, front, address: unbound, limits, dir, running: None };
        rig.start().await;
        rig
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        self.address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        // A rig that is dropped ends it too.
        let shutdown = async move { drop(stopped.await) };
        let (tls, front, limits) = (self.expert.tls.clone(), Arc::clone(&self.front), self.limits.clone());
        let task = tokio::spawn(receive::serve(listener, tls, front, limits, shutdown));
        self.running = Some((stop, task));
    }

    /// Stops the receiver and starts it again with nothing but what is on the disk.
    pub(crate) async fn restart(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        stop.send(()).expect("it runs");
        task.await.expect("it ended well");
        self.front = front(self.dir.path(), &self.expert.id, &self.limits, None);
        self.start().await;
    }

    pub(crate) fn vault_folder(&self, name: &str) -> PathBuf {
        self.dir.path().join("vault").join(name)
    }

    /// The names of the files in a folder of the vault.
    pub(crate) fn vault_names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.vault_folder(folder)).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
    }

    pub(crate) async fn dial(&self, from: &Institution) -> Raw {
        let stream = TcpStream::connect(self.address).await.expect("the port is open");
        let config = from.tls.client_config(&self.expert.id).expect("a partner");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        Raw(TlsConnector::from(config).connect(name, stream).await.expect("a handshake"))
    }
}

/// The front of a gateway whose vault stands in `dir` already.
pub(crate) fn front(dir: &Path, us: &InstitutionId, limits: &Limits, lie: Option<ReceiptAnswer>) -> Arc<Front> {
    let vault = Arc::new(Vault::open(&dir.join("vault"), 0).expect("a vault"));
    let receiver = Receiver::open(vault, &dir.join("transfers"), limits.clone(), Clock::system()).expect("a receiver");
    Arc::new(Front {
        receiver: Arc::new(receiver),
        suspended: Mutex::default(),
        us: us.clone(),
        receipts: Mutex::default(),
        lie,
        begun: tokio::sync::Notify::new(),
        gate: tokio::sync::RwLock::default(),
    })
}

/// A sealed file that only looks like one: a header, then noise.
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offer: Offer,
}

impl Sealed {
    pub(crate) fn of(body_bytes: usize) -> Self {
        let header_bytes = 200;
        let mut bytes = vec![b'h'; header_bytes];
        let noise = (0_u64..).flat_map(|block| *Digest::of(&block.to_be_bytes()).as_bytes());
        bytes.extend(noise.take(body_bytes));
        let offer = Offer {
            bundle: BundleId::random(),
            sealed_sha256: Digest::of(&bytes),
            sealed_bytes: bytes.len() as u64,
            header_bytes: header_bytes as u64,
        };
        Self { bytes, offer }
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        self.bytes[..200].to_vec()
    }

    pub(crate) fn target(&self) -> Target {
        Target::Transfer(self.offer.id())
    }

    /// The head of the request that brings `range`, with the right digest.
    pub(crate) fn segment_head(&self, range: std::ops::Range<usize>) -> Vec<(&'static str, String)> {
        vec![
            (wire::UPLOAD_OFFSET, range.start.to_string()),
            (wire::UPLOAD_COMPLETE, wire::write_boolean(range.end == self.bytes.len()).to_owned()),
            (wire::CONTENT_DIGEST, wire::write_content_digest(&Digest::of(&self.bytes[range.clone()]))),
            ("content-length", range.len().to_string()),
        ]
    }

    pub(crate) fn handover(&self, dispatch: &str) -> Handover {
        Handover {
            dispatch: dispatch.to_owned(),
            signature: "signed".to_owned(),
            notices: Vec::new(),
            header: self.header(),
        }
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal; what it says must be all that it says.
    pub(crate) fn code(&self) -> Code {
        let answer: ErrorAnswer = self.json();
        assert_eq!(self.status, answer.code.status());
        assert_eq!(self.field(wire::REQUEST_ID), Some(answer.request.as_str()));
        assert_eq!(self.body, serde_json::to_vec(&answer).expect("json"));
        answer.code
    }
}

/// A line on which a test writes what it likes.
pub(crate) struct Raw(pub(crate) TlsStream<TcpStream>);

impl Raw {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("written");
        self.0.flush().await.expect("written");
    }

    pub(crate) async fn head(&mut self, method: &str, path: &str, fields: &[(&str, String)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: expert\r\n");
        for (name, value) in fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        self.write((head + "\r\n").as_bytes()).await;
    }

    /// The next answer; `None` when the line was closed instead.
    pub(crate) async fn answer(&mut self, has_body: bool) -> Option<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).expect("an ASCII head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: Vec::new() };
        let length = response.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if has_body {
            response.body.resize(length, 0);
            self.0.read_exact(&mut response.body).await.ok()?;
        }
        Some(response)
    }

    pub(crate) async fn ask(&mut self, method: &str, target: &Target) -> Response {
        self.head(method, &target.to_string(), &[]).await;
        self.answer(method != "HEAD").await.expect("an answer")
    }

    pub(crate) async fn post<T: serde::Serialize>(&mut self, target: &Target, body: &T) -> Response {
        let body = serde_json::to_vec(body).expect("json");
        self.head("POST", &target.to_string(), &[("content-length", body.len().to_string())]).await;
        self.write(&body).await;
        self.answer(true).await.expect("an answer")
    }

    pub(crate) async fn offer(&mut self, sealed: &Sealed) -> TransferState {
        let response = self.post(&Target::Transfers, &sealed.offer).await;
        assert!(matches!(response.status, 200 | 201), "{response:?}");
        response.json()
    }

    pub(crate) async fn segment(&mut self, sealed: &Sealed, range: std::ops::Range<usize>) -> Response {
        let head = sealed.segment_head(range.clone());
        self.segment_as(sealed, &head, &sealed.bytes[range]).await
    }

    pub(crate) async fn segment_as(&mut self, sealed: &Sealed, head: &[(&str, String)], body: &[u8]) -> Response {
        self.head("PATCH", &sealed.target().to_string(), head).await;
        self.write(body).await;
        self.answer(true).await.expect("an answer")
    }

    pub(crate) async fn hand_over(&mut self, sealed: &Sealed, dispatch: &str) -> Response {
        self.post(&Target::Handover(sealed.offer.id()), &sealed.handover(dispatch)).await
    }

    /// Waits until the other side has closed the line, whatever it still says before.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // An end without TLS's good-bye is an end too.
        drop(self.0.read_to_end(&mut rest).await);
    }
}
