//! The log: what happened, chained, signed, and verifiable by anyone with stock tools.
//!
//! Rule: it may say more than happened, never less; an entry is acknowledged only when it is on the disk.

pub mod event;
pub mod happened;
pub mod tree;
pub mod proof;
pub mod tiles;
pub mod note;
pub mod tlog_proof;
pub mod proof_page;
mod history;
pub mod reader;
pub mod log;
pub mod verify;
pub mod witness;
pub mod export;
pub mod trust;
pub mod compare;
pub mod leaves;
pub mod stamp;
