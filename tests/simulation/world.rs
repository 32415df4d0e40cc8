//! Two gateways, the line between them, and the steps carried out on them.
//!
//! Rule: a step that cannot be taken, because a side is down or there is nothing to do it to, is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use medseal::bundle::tar_write::TarWriter;
use medseal::clock::{Clock, Timestamp};
use medseal::desk::cases::OpenCase;
use medseal::desk::partners::AddPartner;
use medseal::desk::{Staff, bundles, cases, consents, partners, recalls};
use medseal::gateway::{Gateway, InitOptions, init_over};
use medseal::id::{BundleId, CaseId, ConsentId, InstitutionId};
use medseal::keys::Keys;
use medseal::partner::{SignedCard, Standing};
use medseal::problem::Problem;
use medseal::queue::{kind_of, recall_kind_of};
use medseal::records::{BundleRecord, State};
use medseal::store::memory::MemoryStore;
use medseal::store::{LeaseToken, Space};
use medseal::{recall, release, sample_case};
use serde_json::json;
use tokio::sync::oneshot;

use crate::marks;
use crate::plan::{Step, Then, Who};
use crate::side::{Running, Side};
use crate::wire::Wire;

/// What the run is told while attempts are under way.
pub(crate) enum Event {
    /// An attempt of this round ended.
    Done(u64),
    /// A byte on the line is held until the sender is dropped.
    Held(Then, oneshot::Sender<()>),
    /// A disk died.
    Died,
}

/// Two gateways that know each other, with a case and no consent: what every run begins with.
pub(crate) struct Template {
    folder: tempfile::TempDir,
    hospital: MemoryStore,
    institute: MemoryStore,
    case: CaseId,
    wire: Wire,
}

impl Template {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let wire = Wire::new();
        let clock = Clock::set_to(begin());
        let make = |id: &str, country: &str| {
            let options = InitOptions {
                id: id.parse().expect("an id"),
                name: id.to_owned(),
                country: country.parse().expect("a country"),
                endpoint: format!("https://127.0.0.1:{}", wire.port),
                listen: format!("127.0.0.1:{}", wire.port),
            };
            let store = Arc::new(MemoryStore::create());
            let over = Arc::clone(&store);
            let card = init_over(&folder.path().join(id), &options, &clock, |_| Ok(over)).expect("a home");
            (card, store.reopened())
        };
        let (our_card, ours) = make(HOSPITAL, "EE");
        let (their_card, theirs) = make(INSTITUTE, "DE");
        let (events, _none) = channel();
        let mut hospital = Side::new(&folder.path().join(HOSPITAL), ours, begin(), events.clone());
        let mut institute = Side::new(&folder.path().join(INSTITUTE), theirs, begin(), events);
        let mut case = None;
        for (side, card) in [(&mut hospital, their_card), (&mut institute, our_card)] {
            side.fill_disk(false);
            side.start();
            let running = side.running().expect("it runs");
            let request = AddPartner {
                card: card.file_text(),
                fingerprint: Some(card.fingerprint().to_string()),
                agreement: None,
            };
            running.wait(partners::add(&running.gateway, US, request)).expect("a partner");
            if card.card().id.as_str() == INSTITUTE {
                let open = OpenCase {
                    patient: sample_case::patient(),
                    partner: institute_id(),
                    purpose: "TREAT".parse().expect("a purpose"),
                    question: "Operate?".to_owned(),
                    name: None,
                    birth_date: None,
                };
                case = Some(running.wait(cases::open(&running.gateway, US, open)).expect("a case"));
            }
            side.stop();
        }
        let case = case.expect("the hospital opened it");
        Self { folder, hospital: hospital.kept(), institute: institute.kept(), case, wire }
    }
}

/// One run.
pub(crate) struct World<'a> {
    pub(crate) hospital: Side,
    pub(crate) institute: Side,
    pub(crate) sent: Vec<BundleId>,
    /// Bundles whose consent was withdrawn before their header was to be handed over.
    pub(crate) unreadable: BTreeSet<BundleId>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<String, u32>,
    case: CaseId,
    consent: Option<ConsentId>,
    consents: u32,
    serial: u64,
    wire: &'a Wire,
    round: u64,
    events: Sender<Event>,
    told: Receiver<Event>,
    _folder: tempfile::TempDir,
}

impl<'a> World<'a> {
    pub(crate) fn new(template: &'a Template) -> Self {
        marks::listen();
        let folder = folder();
        copy(template.folder.path(), folder.path());
        let (events, told) = channel();
        let side = |name: &str, store: &MemoryStore| {
            Side::new(&folder.path().join(name), store.reopened(), begin(), events.clone())
        };
        template.wire.divide(false);
        let mut world = Self {
            hospital: side(HOSPITAL, &template.hospital),
            institute: side(INSTITUTE, &template.institute),
            sent: Vec::new(),
            unreadable: BTreeSet::new(),
            tally: BTreeMap::new(),
            case: template.case.clone(),
            consent: None,
            consents: 0,
            serial: 1,
            wire: &template.wire,
            round: 0,
            events,
            told,
            _folder: folder,
        };
        world.start(Who::Hospital);
        world.start(Who::Institute);
        world.add_consent();
        world
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Withdraw => self.withdraw(),
            Step::Consent => self.add_consent(),
            Step::Work => self.work(),
            Step::Recall => self.recall(),
            Step::Partition => self.wire.divide(true),
            Step::Heal => self.wire.divide(false),
            Step::Crash(who) => self.crash(who),
            Step::CrashAtWrite { who, write, made } => {
                if let Some(running) = self.side(who).running() {
                    running.disk.die_at(write, made);
                }
            }
            Step::Start(who) => self.start(who),
            Step::AtByte { way, byte, then } => self.wire.at_byte(way, byte, then, self.events.clone()),
            Step::Skew(who, seconds) => self.side(who).clock.advance_s(i64::from(seconds)),
            Step::RotateCard => self.rotate_card(),
            Step::DiskFull(who) => self.fill_disk(who, true),
            Step::DiskFree(who) => self.fill_disk(who, false),
            Step::Suspend => self.stand(Standing::Suspended),
            Step::Resume => self.stand(Standing::Active),
        }
        self.bury();
    }

    /// Ends all that disturbs, and lets everything come to rest.
    pub(crate) fn settle(&mut self) {
        self.wire.forget_plan();
        self.wire.divide(false);
        for who in [Who::Hospital, Who::Institute] {
            self.fill_disk(who, false);
            self.start(who);
        }
        let (ours, theirs) = (self.hospital.clock.now(), self.institute.clock.now());
        let ahead = ours.duration_since(theirs).as_secs();
        let behind = if ahead > 0 { &self.institute } else { &self.hospital };
        behind.clock.advance_s(ahead.abs());
        self.stand(Standing::Active);
        for _ in 0..ROUNDS_MAX {
            if self.due().is_none() {
                return;
            }
            self.work();
        }
        let waits = |record: &BundleRecord| !record.state().is_final() || record.recall_is_on_its_way();
        let waiting: Vec<_> = self.records().into_values().filter(waits).collect();
        panic!("it does not come to rest: {waiting:?}");
    }

    fn send(&mut self, bytes: u32) {
        let Some(running) = self.hospital.running() else { return };
        let text: String = ('a'..='z').cycle().take(bytes as usize).collect();
        let document = json!({
            "path": "letter.txt", "bytes": bytes, "seen": { "media_type": "text/plain", "patients": [] },
        });
        let request = json!({ "case": self.case, "documents": [document] });
        let request: bundles::Announce = serde_json::from_value(request).expect("an announcement");
        let sent = running.wait(async {
            let bundle = bundles::announce(&running.gateway, US, request).await?.bundle;
            bundles::fill(&running.gateway, US, &bundle, tar(text.as_bytes())).await?;
            Ok::<_, Problem>(bundle)
        });
        match sent {
            Ok(bundle) => {
                self.count("handed in");
                self.sent.push(bundle);
            }
            Err(problem) => self.count(&format!("not handed in: {:?}", problem.code)),
        }
    }

    fn add_consent(&mut self) {
        let Some(running) = self.hospital.running() else { return };
        if self.consent.is_some() {
            return;
        }
        self.consents += 1;
        let text = sample_case::consent_json(
            &sample_case::patient(),
            &institute_id(),
            &"DE".parse().expect("a country"),
            "2026-01-01".parse().expect("a day"),
            "2036-01-01".parse().expect("a day"),
        );
        let text = text.replace("sample-consent", &format!("sample-consent-{}", self.consents));
        let added = running.wait(consents::add(&running.gateway, US, text.as_bytes(), Vec::new()));
        if let Ok(added) = added {
            self.consent = Some(added.consent);
        }
        // It may be on file even where nobody was told: what waits may leave again.
        let bundles = self.records();
        self.unreadable.retain(|bundle| bundles.get(bundle).is_none_or(|record| record.state().is_final()));
    }

    fn withdraw(&mut self) {
        let (Some(running), Some(consent)) = (self.hospital.running(), self.consent.clone()) else { return };
        match running.wait(consents::withdraw(&running.gateway, US, &consent, "she called")) {
            Ok(withdrawn) => {
                self.consent = None;
                self.count("withdrawn");
                let others = withdrawn.standing.is_empty();
                let stays = |bundle: &&BundleId| others && !marks::is_marked(bundle.as_str());
                let stay: Vec<BundleId> = self.records().keys().filter(stays).cloned().collect();
                self.unreadable.extend(stay);
            }
            Err(problem) => self.count(&format!("not withdrawn: {:?}", problem.code)),
        }
    }

    fn recall(&mut self) {
        let Some(running) = self.hospital.running() else { return };
        let records = self.records();
        let Some(record) = records.values().find(|record| record.state() == State::Delivered) else { return };
        if running.wait(recalls::order(&running.gateway, US, &record.bundle, "a mistake")).is_ok() {
            self.count("recalls ordered");
        }
    }

    fn rotate_card(&mut self) {
        let (Some(ours), Some(theirs)) = (self.hospital.running(), self.institute.running()) else { return };
        self.serial += 1;
        let gateway = &theirs.gateway;
        let mut keys = Keys::open(&gateway.home.keys()).expect("the keys");
        keys.renew_tls("127.0.0.1", gateway.now()).expect("another certificate");
        gateway.tls.set_identity(&keys).expect("it is shown");
        let card = SignedCard::make(&gateway.keys, &gateway.config, self.serial, gateway.now()).expect("a card");
        let request = AddPartner { card: card.file_text(), fingerprint: None, agreement: None };
        if ours.wait(partners::add(&ours.gateway, US, request)).is_ok() {
            self.count("cards replaced");
        }
    }

    fn stand(&mut self, standing: Standing) {
        let Some(running) = self.hospital.running() else { return };
        // What fails here is a crash, or the same standing once more.
        drop(running.wait(partners::set_standing(&running.gateway, US, &institute_id(), standing)));
    }

    /// One round of what the outbox does: everything that is due, at one time; time passes until something is.
    fn work(&mut self) {
        let Some(due) = self.due() else { return };
        let wait = due.duration_since(self.hospital.clock.now()).as_secs() + 1;
        if wait > 0 {
            self.hospital.clock.advance_s(wait);
            self.institute.clock.advance_s(wait);
        }
        self.hospital.keep_house();
        self.institute.keep_house();
        self.round += 1;
        let mut attempts = Vec::new();
        let Some(running) = self.hospital.running() else { return };
        let suspended = |gateway: &Gateway| {
            gateway.partner(&institute_id()).is_ok_and(|partner| partner.standing == Standing::Suspended)
        };
        if suspended(&running.gateway) {
            return;
        }
        for (kind, work, most) in
            [(kind_of(&institute_id()), Work::Deliver, 4), (recall_kind_of(&institute_id()), Work::Recall, 1)]
        {
            for _ in 0..most {
                let claimed = running.gateway.store().claim(&kind, "simulation", LEASE_S, running.gateway.now());
                let Ok(Some(lease)) = claimed else { break };
                let done = Done(self.round, self.events.clone());
                let (gateway, bundle) = (Arc::clone(&running.gateway), bundle_of(&lease.job.key));
                attempts.push(running.runtime.spawn(async move {
                    let done = done;
                    attempt(&gateway, work, &bundle, lease.token).await;
                    drop(gateway);
                    drop(done);
                }));
            }
        }
        let mut under_way = attempts.len();
        *self.tally.entry("attempts".to_owned()).or_default() += u32::try_from(under_way).expect("few");
        while under_way > 0 {
            match self.told.recv_timeout(PATIENCE).expect("an attempt never ends") {
                Event::Done(round) => under_way -= usize::from(round == self.round),
                Event::Held(then, go) => {
                    self.then(then);
                    drop(go);
                }
                Event::Died => self.bury(),
            }
            if self.hospital.running().is_none() {
                return;
            }
        }
        let running = self.hospital.running().expect("it runs");
        for attempt in attempts {
            running.wait(attempt).expect("an attempt does not panic");
        }
    }

    fn then(&mut self, then: Then) {
        self.count(&format!("while a byte was held: {then:?}").replace(char::is_numeric, "").replace('-', ""));
        match then {
            Then::Cut | Then::Late(_) => {}
            Then::Withdraw => self.withdraw(),
            Then::Crash(who) => self.crash(who),
            Then::Suspend => self.stand(Standing::Suspended),
            Then::Skew(who, seconds) => self.side(who).clock.advance_s(i64::from(seconds)),
            Then::RotateCard => self.rotate_card(),
        }
        self.bury();
    }

    /// When the first job of the hospital is due.
    fn due(&self) -> Option<Timestamp> {
        let store = self.hospital.running()?.gateway.store();
        let kinds = [kind_of(&institute_id()), recall_kind_of(&institute_id())];
        kinds.iter().filter_map(|kind| store.next_due(kind).ok().flatten()).min()
    }

    /// The hospital's bundles.
    pub(crate) fn records(&self) -> BTreeMap<BundleId, BundleRecord> {
        let Some(running) = self.hospital.running() else { return BTreeMap::new() };
        let rows = running.gateway.rows::<BundleRecord>(Space::Bundle, b"").unwrap_or_default();
        rows.into_iter().map(|row| (row.value.bundle.clone(), row.value)).collect()
    }

    fn start(&mut self, who: Who) {
        let port = match who {
            Who::Hospital => self.hospital.start(),
            Who::Institute => self.institute.start(),
        };
        if who == Who::Institute {
            self.wire.lead_to(Some(port));
        }
    }

    fn crash(&mut self, who: Who) {
        if who == Who::Institute {
            self.wire.lead_to(None);
        }
        self.count(if who == Who::Institute { "crashes of the institute" } else { "crashes of the hospital" });
        match who {
            Who::Hospital => self.hospital.crash(),
            Who::Institute => self.institute.crash(),
        }
    }

    /// Whoever's disk died is gone.
    fn bury(&mut self) {
        for who in [Who::Hospital, Who::Institute] {
            if self.side(who).is_dead() {
                self.crash(who);
            }
        }
    }

    fn fill_disk(&mut self, who: Who, full: bool) {
        let was_running = self.side(who).running().is_some();
        if who == Who::Institute {
            self.wire.lead_to(None);
        }
        let side = match who {
            Who::Hospital => &mut self.hospital,
            Who::Institute => &mut self.institute,
        };
        side.stop();
        side.fill_disk(full);
        if was_running {
            self.start(who);
        }
    }

    fn side(&self, who: Who) -> &Side {
        match who {
            Who::Hospital => &self.hospital,
            Who::Institute => &self.institute,
        }
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        self.wire.forget_plan();
        self.wire.lead_to(None);
        self.hospital.crash();
        self.institute.crash();
    }
}

impl Running {
    /// Waits for something of this gateway.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}

/// Says that an attempt ended, however it did.
struct Done(u64, Sender<Event>);

impl Drop for Done {
    fn drop(&mut self) {
        // Where nobody listens the run is over.
        drop(self.1.send(Event::Done(self.0)));
    }
}

#[derive(Clone, Copy)]
enum Work {
    Deliver,
    Recall,
}

/// As the outbox does it, without its pause.
async fn attempt(gateway: &Arc<Gateway>, work: Work, bundle: &BundleId, token: LeaseToken) {
    let kept = token.clone();
    let settled = match work {
        Work::Deliver => Box::pin(release::attempt(gateway, bundle, token)).await.map(drop),
        Work::Recall => Box::pin(recall::attempt(gateway, bundle, token)).await,
    };
    if settled.is_err() {
        // A store that died gives nothing back.
        drop(gateway.store().release(&kept));
    }
}

fn bundle_of(key: &[u8]) -> BundleId {
    std::str::from_utf8(key).expect("text").parse().expect("a bundle")
}

/// The document as it comes over the staff's socket.
fn tar(bytes: &[u8]) -> impl Read + Send + 'static {
    let mut archive = TarWriter::new(Vec::new());
    let mut file = archive.file("letter.txt", bytes.len() as u64).expect("in memory");
    file.write_all(bytes).expect("in memory");
    file.finish().expect("in memory");
    std::io::Cursor::new(archive.finish().expect("in memory"))
}

/// In memory where there is such a place: what a dying process leaves is the same there.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::fs::create_dir(&target).expect("a folder");
            copy(&path, &target);
            std::fs::set_permissions(&target, entry.metadata().expect("metadata").permissions()).expect("a mode");
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

pub(crate) fn hospital_id() -> InstitutionId {
    HOSPITAL.parse().expect("an id")
}

pub(crate) fn institute_id() -> InstitutionId {
    INSTITUTE.parse().expect("an id")
}

/// When every run begins.
fn begin() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().expect("a time")
}

const HOSPITAL: &str = "tallinn-east";
const INSTITUTE: &str = "nordhafen";
const US: Staff = Staff { uid: 0 };
const LEASE_S: u32 = 24 * 3600;

/// More than any queue needs that comes to rest at all.
const ROUNDS_MAX: u32 = 300;

/// More than the line's own limits on waiting.
const PATIENCE: Duration = Duration::from_mins(2);
