//! What the institution's staff can ask of the gateway, verb by verb.
//!
//! Rule: each verb checks, records and answers; none sends anything to a partner, that is the outbox's work.

pub mod alarms;
pub mod approvals;
pub mod audit;
pub mod bundles;
pub mod cases;
pub mod consents;
pub mod disclosures;
pub mod emergencies;
pub mod erasures;
pub mod explain;
pub mod holds;
pub mod inbox;
pub mod incident;
mod on_file;
pub mod opinions;
pub mod partners;
pub mod recalls;
pub mod replay;
pub mod retention;
pub mod stamps;

use crate::config::Limits;
use crate::problem::Problem;
use crate::reason::Reason;

/// Who asks: the user of the operating system at the other end of the socket.
#[derive(Clone, Copy, Debug)]
pub struct Staff {
    /// The user's number.
    pub uid: u32,
}

/// Checks a free text: something in it, not too long, no control characters but line breaks and tabs.
fn free_text(what: &str, text: &str, limits: &Limits) -> Result<String, Problem> {
    let text = text.trim();
    let max = limits.text_bytes_max as usize;
    if text.is_empty() || text.len() > max {
        return Err(Problem::bad_input(
            Reason::BadInput,
            format!("the {what} is {} bytes long; 1 to {max} are allowed", text.len()),
        ));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(Problem::bad_input(Reason::BadInput, format!("the {what} has control characters")));
    }
    Ok(text.to_owned())
}
