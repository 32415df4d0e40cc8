//! medseal: a secure document-exchange gateway for international medical second opinions.
//!
//! A hospital asks an expert institute abroad for a second opinion. Its records department hands medseal a folder of
//! records; medseal seals it so that only that institute can open it, sends it only while the patient's consent and the
//! institution's policy allow it, brings the written opinion back, and keeps a log that others can check.
//!
//! # The story of one release
//!
//! ```text
//! bundle -> decide (consent AND policy, now) -> record the decision -> deliver over mutual TLS
//!        -> verify the receipt -> record the receipt
//! ```
//!
//! Each arrow consumes a value that only the arrow before can make, so that the code which skips a step does not
//! compile (`tests/compile_fail` shows each bypass failing):
//!
//! 1. The documents stream in once and are surveyed, hashed, put into a bag and sealed with age to the partner's keys
//!    ([`desk::bundles`], [`bundle`], [`seal`]). What lies in the [`vault`] afterwards is noise to everyone else.
//! 2. [`decision::decide`] asks both gates, the patient's [`consent`] and the institution's [`policy`], at **every**
//!    attempt. Only it makes a [`decision::Permit`]. A permit has no serialized form and grows stale within a minute,
//!    so a bundle that waits must earn a new one.
//! 3. [`statement::dispatch::Release::new`] spends the permit on the sealed bundle that it names.
//! 4. [`audit::log::Log::append`] takes the release and gives it back as a [`audit::log::Recorded`] release, after the
//!    entry is on the disk and never before.
//! 5. [`deliver::Line`] moves bytes for a recorded release only. Everything but the age header goes first: noise. The
//!    header, with the wrapped file key, is handed over last, under a permit that is fresh at that moment; a consent
//!    that was withdrawn while gigabytes travelled stops it there.
//! 6. The partner stores, records and then signs. [`statement::receipt::Receipt::verify`] is the only way to a receipt,
//!    and [`records::BundleRecord::delivered`], the only way to "delivered", wants one.
//! 7. The receipt's own entry and the state of the bundle are one atomic write.
//!
//! [`release`] is these steps in order. The way back is the same: an opinion is a bundle whose release is allowed by
//! the dispatch that it answers.
//!
//! A few words that it uses: an **attempt** is one try at a release, and a bundle may need many; its **job** stands in
//! the [`queue`] until the bundle is at its end, and whoever holds it is the only one to attempt. An attempt is **open**
//! while nobody knows whether it arrived. The gateway's **epoch** counts every change that a decision could depend on:
//! a permit that was earned in an older epoch is stale. **Noise** is a sealed file without its header.
//!
//! # Where things are
//!
//! In import order: a module uses only what stands above it (tests/architecture.rs checks).

// -- words
pub mod id;
pub mod clock;
pub mod reason;
pub mod json;
pub mod durable;
pub mod config;
// -- trust
pub mod signature;
pub mod keys;
pub mod subject;
pub mod leaf;
pub mod partner;
// -- storage
pub mod store;
pub mod vault;
// -- what is decided
pub mod bundle;
pub mod consent;
pub mod policy;
pub mod decision;
// -- evidence
pub mod seal;
pub mod statement;
pub mod records;
pub mod audit;
// -- exchange
pub mod tls;
pub mod wire;
pub mod deliver;
pub mod receive;
// -- the gateway
pub mod problem;
pub mod gateway;
pub mod queue;
pub mod recall;
pub mod release;
pub mod outbox;
pub mod witness;
// -- the program
pub mod desk;
pub mod reception;
pub mod http;
pub mod daemon;
pub mod sample_case;
pub mod client;
pub mod cli;
