//! medseal: a secure document-exchange gateway for international medical second opinions.

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
pub mod audit;
// -- exchange
pub mod tls;
pub mod wire;
pub mod deliver;
pub mod receive;
// -- the gateway
pub mod records;
pub mod problem;
pub mod gateway;
pub mod outbox;
pub mod release;
// -- the program
pub mod desk;
pub mod reception;
pub mod http;
pub mod daemon;
pub mod sample_case;
pub mod client;
pub mod cli;
