//! Alarms about logs, for the officer: what stands, what was kept of it, and that somebody saw it.

use serde::Serialize;

use super::Staff;
use crate::clock::stamp;
use crate::gateway::Gateway;
use crate::problem::Problem;
use crate::records::{AlarmEnd, AlarmRecord, Word};
use crate::witness::alarm;

/// An alarm as the staff sees it.
#[derive(Debug, Serialize)]
pub struct AlarmView {
    /// Its name.
    pub id: String,
    /// One sentence.
    pub what: String,
    /// Since when.
    pub since: String,
    /// `standing`, `recovered` or `acknowledged`.
    pub state: &'static str,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Who acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The file below `witness/evidence` that holds what contradicts each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// Every alarm that ever stood, by name; the log says how often.
pub fn list(gateway: &Gateway) -> Result<Vec<AlarmView>, Problem> {
    Ok(alarm::all(gateway)?.iter().map(|record| view(gateway, record)).collect())
}

/// Those that stand.
pub fn standing(gateway: &Gateway) -> Result<Vec<AlarmView>, Problem> {
    Ok(list(gateway)?.into_iter().filter(|alarm| alarm.state == STANDING).collect())
}

/// What was kept of an alarm: the notes that contradict each other.
pub fn evidence(gateway: &Gateway, id: &str) -> Result<String, Problem> {
    let all = alarm::all(gateway)?;
    let record = all.iter().find(|record| record.what.id() == id).ok_or_else(|| unknown(id))?;
    let name = record.what.evidence().ok_or_else(|| {
        Problem::not_found(format!("there are no notes about {id}"))
            .hint("`medseal audit alarms` says what it is about; `medseal doctor` what to do")
    })?;
    let path = gateway.home.witness().join("evidence").join(name);
    std::fs::read_to_string(path).map_err(|error| Problem::internal("the evidence", &error))
}

/// Somebody says that he saw an alarm; it stands no more.
pub async fn acknowledge(gateway: &Gateway, staff: Staff, id: &str) -> Result<AlarmView, Problem> {
    let row = alarm::standing(gateway, id)?.ok_or_else(|| unknown(id))?;
    if row.value.what.passes() {
        return Err(Problem::conflict(format!("{id} stands until it has passed; nobody can end it before"))
            .hint("`medseal doctor` says what is missing; it ends by itself when enough have signed"));
    }
    let word = Word { by: staff.uid, at: stamp(gateway.now()) };
    let ended = alarm::end(gateway, row, AlarmEnd::Acknowledged(word)).await?;
    Ok(view(gateway, &ended))
}

fn unknown(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    Problem::not_found(format!("no alarm {id} stands")).hint("`medseal audit alarms` lists them")
}

fn view(gateway: &Gateway, record: &AlarmRecord) -> AlarmView {
    let (state, ended, by) = match &record.ended {
        None => (STANDING, None, None),
        Some(AlarmEnd::Recovered { at }) => ("recovered", Some(at.clone()), None),
        Some(AlarmEnd::Acknowledged(word)) => {
            ("acknowledged", Some(word.at.clone()), Some(gateway.people.name(word.by)))
        }
    };
    AlarmView {
        id: record.what.id(),
        what: record.what.words(),
        since: record.since.clone(),
        state,
        ended,
        by,
        evidence: record.what.evidence(),
    }
}

const STANDING: &str = "standing";
