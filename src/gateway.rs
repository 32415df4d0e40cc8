//! One institution's gateway: its keys, its store, its log, its vault, its policy, held together.
//!
//! Rule: everything that changes state goes through [`Gateway::record`], which makes the entry and the change one
//! atomic write; what names a person is sealed before it gets there.

mod draft;
mod evidence;
mod leftovers;
mod on_file;
mod own_card;
mod partners;
mod parts;
mod policies;
mod rows;
mod witnessing;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::watch;

pub use draft::{Draft, Drafts, OpinionFacts, OpinionStatus};
pub use on_file::{ConsentPrivate, Scan};
pub use parts::Person;
pub use policies::Reloaded;
pub use rows::Row;
pub use witnessing::{Ours, Witnessing};

use crate::audit;
use crate::audit::event::Event;
use crate::audit::happened::Happened;
use crate::audit::log::{AppendError, Change, Log, LogParts, OnFailure, Recorded, SignsNotes};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, Home, People};
use crate::decision::Gates;
use crate::id::{Country, Digest, InstitutionId};
use crate::keys::{ConsentManagers, Keys};
use crate::partner::{SignedCard, log_name};
use crate::policy::Policy;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::receive::Receiver;
use crate::store::sled::SledStore;
use crate::store::{Expect, Put, Space, Store, StoreError};
use crate::subject::Subjects;
use crate::tls::{PeerTrust, Tls};
use crate::vault::Vault;
use crate::wire;

/// One institution's gateway, open and ready.
#[derive(Debug)]
pub struct Gateway {
    /// What the operator configured.
    pub config: Config,
    /// The people of the staff.
    pub people: People,
    /// Where it all lies.
    pub home: Home,
    /// The long-lived keys.
    pub keys: Arc<Keys>,
    /// Whose signatures under consents count.
    pub consent_managers: ConsentManagers,
    /// Tells the time.
    pub clock: Clock,
    /// The log.
    pub log: Log,
    /// The sealed bundles, ours and those that came in.
    pub vault: Arc<Vault>,
    /// The TLS configurations, swapped live when partners change.
    pub tls: Tls,
    /// Every patient's key.
    pub subjects: Arc<Subjects>,
    /// What partners are bringing at this moment.
    pub receiver: Arc<Receiver>,
    /// Bundles that were announced and whose documents have not come yet.
    pub drafts: Drafts,
    /// Countersignatures, by us and for us.
    pub witnessing: Witnessing,
    store: Arc<dyn Store>,
    policy: RwLock<Arc<Policy>>,
    cards: partners::Read,
    reloading: tokio::sync::Mutex<()>,
    epoch: AtomicU64,
    changes: watch::Sender<u64>,
}

/// What `init` needs to know.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The institution's id.
    pub id: InstitutionId,
    /// Its name, as a person reads it.
    pub name: String,
    /// The country it is in.
    pub country: Country,
    /// Where partners reach it: `https://HOST:PORT`.
    pub endpoint: String,
    /// The address to listen on: `IP:PORT`.
    pub listen: String,
}

/// Why a home was not made or not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// There is a home already.
    #[error("{0} exists already")]
    Exists(std::path::PathBuf),
    /// There is no home.
    #[error("{0} is not the home of a gateway")]
    NoHome(std::path::PathBuf),
    /// The configuration was not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys were not made or not accepted.
    #[error("the keys")]
    Keys(#[from] crate::keys::KeysError),
    /// The store was not made or not opened.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The log was not begun.
    #[error("the log")]
    InitLog(#[from] audit::log::InitLogError),
    /// What partners were bringing cannot be taken up.
    #[error("the transfers that were open")]
    Transfers(#[from] crate::receive::ReceiveError),
    /// The log does not fit what was signed before.
    #[error("the log")]
    Log(#[from] audit::log::OpenLogError),
    /// The vault was not made or not opened.
    #[error("the vault")]
    Vault(#[from] crate::vault::VaultError),
    /// The subjects' keys were not made or not opened.
    #[error("the subjects' keys")]
    Subjects(#[from] crate::subject::SubjectError),
    /// The witness's folder was not made or not opened.
    #[error("the witness's folder")]
    Witness(#[from] audit::witness::SeenError),
    /// The site's own rule about countersignatures is not one.
    #[error("witness-policy")]
    WitnessPolicy(#[from] audit::trust::ReadTrustError),
    /// The policy set is not valid.
    #[error("the policy set")]
    Policy(#[from] crate::policy::PolicyError),
    /// The TLS configuration could not be made.
    #[error("TLS")]
    Tls(#[from] crate::tls::TlsError),
    /// Our own card could not be made or read.
    #[error("our own card")]
    Card(#[from] crate::partner::CardError),
    /// A file could not be written or read.
    #[error("{what}")]
    Io {
        /// What it was for.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl Gateway {
    /// Opens the home: every file is read and checked, the log is compared with what was signed last.
    pub fn open(home: &Home, clock: Clock) -> Result<Arc<Self>, GatewayError> {
        Self::open_over(home, clock, OnFailure::Abort, |home| Ok(Arc::new(SledStore::open(&home.store())?)))
    }

    /// Like [`Gateway::open`], over another store than the one in the home: for tests that let it fail.
    pub fn open_over(
        home: &Home,
        clock: Clock,
        on_failure: OnFailure,
        store: impl FnOnce(&Home) -> Result<Arc<dyn Store>, StoreError>,
    ) -> Result<Arc<Self>, GatewayError> {
        if !home.config().is_file() {
            return Err(GatewayError::NoHome(home.path().to_owned()));
        }
        let config = Config::read(&home.config())?;
        let people = people_of(&config)?;
        let mut keys = Keys::open(&home.keys())?;
        if keys.add_missing()? {
            tracing::warn!("a key to sign with as a witness was made");
        }
        let keys = Arc::new(keys);
        let consent_managers = ConsentManagers::of(&home.keys());
        consent_managers.list()?;
        let subjects = Arc::new(Subjects::open(&home.subjects(), keys.subjects_key())?);
        let store = store(home)?;
        let parts = log_parts(home, &config.id, &store, &subjects, &keys, &clock);
        let log = Log::open(LogParts { on_failure, ..parts })?;
        // It keeps the set's text: a home whose store or log cannot be trusted is left as it is.
        let policy = policies::load(home)?;
        own_card::complete(home, &keys, clock.now());
        let vault = Arc::new(Vault::open(&home.vault(), config.limits.disk_free_bytes_min)?);
        let witnessing = Witnessing::open(&home.witness())?;
        witnessing::own_trust(home)?;
        let tls = Tls::with_clock(&keys, config.exchange.post_quantum, clock.clone())?;
        let limits = wire::Limits::of(&config.limits);
        let receiver = Receiver::open(Arc::clone(&vault), &home.transfers(), limits, clock.clone())?;
        let gateway = Arc::new(Self {
            config,
            people,
            home: home.clone(),
            keys,
            consent_managers,
            clock,
            log,
            vault,
            tls,
            subjects,
            witnessing,
            store,
            cards: partners::Read::default(),
            policy: RwLock::new(policy),
            reloading: tokio::sync::Mutex::default(),
            receiver: Arc::new(receiver),
            drafts: Drafts::default(),
            epoch: AtomicU64::new(0),
            changes: watch::channel(0).0,
        });
        gateway.trust_partners();
        Ok(gateway)
    }

    /// Our id.
    pub const fn id(&self) -> &InstitutionId {
        &self.config.id
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store, to read from; what is written goes through [`Gateway::record`].
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The policy set in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().expect("no one panics while holding the policy"))
    }

    /// Counts the changes that a decision may depend on: partners, consents, cases, policy.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Wakes whoever waits for a bundle or a case to change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Records an event and makes its change, in one atomic and durable write.
    pub async fn record<E: Event + Send + 'static>(&self, event: E, change: Change) -> Result<Recorded<E>, Problem> {
        // A case that was not there before is part of no permit, and a partner can open as many as it likes.
        let is_new_case = |put: &Put| put.space == Space::Case && put.expect == Expect::Absent;
        let decides = change.puts.iter().any(|put| DECIDES.contains(&put.space) && !is_new_case(put))
            || change.deletes.iter().any(|delete| DECIDES.contains(&delete.space));
        // Before and after: a release decided on the old state must not pass in between.
        if decides {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        let recorded = self.log.append(event, change).await;
        if decides {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.changes.send_modify(|count| *count += 1);
        recorded.map_err(|error| match error {
            AppendError::Precondition { .. } => Problem::conflict("somebody else changed this at the same moment"),
            // A subject always has a key, until an erasure.
            AppendError::NoSubjectKey => Problem::refused(Reason::Erased, "this patient's data was erased"),
            other => Problem::internal("the log", &other),
        })
    }

    /// Records an event whose record no later step asks for.
    pub async fn enter<E: Event + Send + 'static>(&self, event: E, change: Change) -> Result<(), Problem> {
        self.record(event, change).await.map(|recorded| drop(recorded.into_event()))
    }

    /// Makes TLS trust exactly the partners that may exchange now.
    pub fn trust_partners(&self) {
        let now = self.now();
        let trusted = match self.partners() {
            Ok(partners) => partners,
            Err(problem) => {
                tracing::error!(%problem, "partners cannot be read: none is trusted");
                Vec::new()
            }
        };
        let peers = trusted
            .iter()
            .filter(|partner| partner.may_exchange(now))
            .map(|partner| PeerTrust { id: partner.id().clone(), certificates: partner.ca_certificates_at(now) })
            .collect();
        self.tls.set_peers(peers);
    }

    /// Both gates, as they stand now.
    pub fn gates(&self) -> Gates {
        Gates::new(self.policy())
    }

    /// The limits of the line to partners.
    pub fn line_limits(&self) -> wire::Limits {
        wire::Limits::of(&self.config.limits).shared_by(self.config.exchange.concurrent_per_partner)
    }

    /// The head of our log right after an entry, as statements carry it.
    pub fn log_head(&self, place: &audit::log::Place) -> crate::statement::LogHead {
        crate::statement::LogHead {
            origin: self.log.reader().origin().as_str().to_owned(),
            size: place.seq + 1,
            root: place.root,
        }
    }
}

/// Makes a home: configuration, keys, policies, card, vault, and the log with its genesis entry.
///
/// Nothing that exists is touched: a folder that holds anything is refused.
pub fn init(path: &Path, options: &InitOptions, clock: &Clock) -> Result<SignedCard, GatewayError> {
    init_over(path, options, clock, |home| Ok(Arc::new(SledStore::create(&home.store())?)))
}

/// Like [`init`], with the log in another store than one in the home.
pub fn init_over(
    path: &Path,
    options: &InitOptions,
    clock: &Clock,
    store: impl FnOnce(&Home) -> Result<Arc<dyn Store>, StoreError>,
) -> Result<SignedCard, GatewayError> {
    let home = Home::at(path);
    if path.exists() && path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(GatewayError::Exists(path.to_owned()));
    }
    let config =
        Config::new(options.id.clone(), &options.name, options.country.clone(), &options.endpoint, &options.listen)?;
    let io = |what| move |source| GatewayError::Io { what, source };
    if !path.exists() {
        crate::durable::create_dir(path, 0o700).map_err(io("the home folder"))?;
    }
    crate::durable::create_dir(&home.head(), 0o700).map_err(io("the folder of the newest checkpoint"))?;
    let now = clock.now();
    let keys = Arc::new(Keys::create(&home.keys(), &config.id, config.endpoint_host(), now)?);
    Policy::make_folder(&home.policies()).map_err(io("the policies"))?;
    let card = SignedCard::make(&keys, &config, 1, now)?;
    crate::durable::write_new(&home.card(), card.file_text().as_bytes(), 0o644).map_err(io("our card"))?;
    Vault::create(&home.vault(), config.limits.disk_free_bytes_min)?;
    let subjects = Arc::new(Subjects::create(&home.subjects(), keys.subjects_key())?);
    let store = store(&home)?;
    audit::log::init(&log_parts(&home, &config.id, &store, &subjects, &keys, clock), &config.id)?;
    // The configuration comes last: a home without it is not one, so a crash half-way leaves nothing that serves.
    let text = config.to_toml();
    crate::durable::write_new(&home.config(), text.as_bytes(), 0o644).map_err(io("medseal.toml"))?;
    Ok(card)
}

/// The people whom the configuration lists, as the operating system numbers them.
fn people_of(config: &Config) -> Result<People, GatewayError> {
    let io = |source| GatewayError::Io { what: "the accounts of the staff", source };
    // Nobody is looked up where nobody is listed.
    let passwd =
        if config.staff.users.is_empty() { String::new() } else { std::fs::read_to_string(PASSWD).map_err(io)? };
    Ok(config.staff.people(&passwd)?)
}

fn log_parts(
    home: &Home,
    id: &InstitutionId,
    store: &Arc<dyn Store>,
    subjects: &Arc<Subjects>,
    keys: &Arc<Keys>,
    clock: &Clock,
) -> LogParts {
    LogParts {
        store: Arc::clone(store),
        subjects: Arc::clone(subjects),
        signer: Arc::clone(keys) as Arc<dyn SignsNotes>,
        head_dir: home.head(),
        clock: clock.clone(),
        origin: log_name(id).parse().expect("an institution's log name is an origin"),
        on_failure: OnFailure::Abort,
    }
}

/// The digest of the configuration as it stands on the disk, for the entry that says what was started.
pub fn config_digest(home: &Home) -> Digest {
    std::fs::read(home.config()).map_or(Digest::of(b""), |bytes| Digest::of(&bytes))
}

/// Records that the gateway starts, and with what; and how many witnesses were asked before it, and answered.
pub async fn record_start(gateway: &Gateway, asked: usize, answered: usize) -> Result<(), Problem> {
    let started = Happened::started(config_digest(&gateway.home), gateway.policy().digest(), env!("CARGO_PKG_VERSION"));
    gateway.enter(started.after_asking(asked, answered), Change::default()).await
}

/// The accounts of this machine.
const PASSWD: &str = "/etc/passwd";

/// What a decision depends on: a change here makes every permit in hand worthless.
const DECIDES: [Space; 4] = [Space::Partner, Space::Consent, Space::Case, Space::Policy];

/// A put that replaces whatever stands there.
pub fn put<T: serde::Serialize>(space: Space, key: &[u8], value: &T, expect: Expect) -> Put {
    let value = serde_json::to_vec(value).expect("records serialise");
    Put { space, key: key.to_vec(), expect, value }
}
