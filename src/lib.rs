//! medseal: a secure document-exchange gateway for international medical second opinions.

// -- words
pub mod clock;
pub mod config;
pub mod durable;
pub mod id;
pub mod json;
pub mod reason;
// -- trust
pub mod keys;
pub mod leaf;
pub mod partner;
pub mod signature;
pub mod subject;
// -- storage
pub mod store;
pub mod vault;
// -- what is decided
pub mod bundle;
pub mod consent;
pub mod decision;
pub mod policy;
// -- evidence
pub mod audit;
pub mod seal;
pub mod statement;
// -- exchange
pub mod deliver;
pub mod receive;
pub mod tls;
pub mod wire;
// -- the case
pub mod case;
pub mod intake;
pub mod outbox;
pub mod records;
pub mod release;
// -- the program
pub mod cli;
pub mod client;
pub mod daemon;
pub mod gateway;
pub mod http;
