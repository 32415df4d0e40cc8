//! Alarms about logs: raised once, kept in the store, and ended by what passes or by a person.
//!
//! Rule: an alarm and the entry that tells of it are one write; so are its end and the entry about that.

use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock::stamp;
use crate::gateway::{Gateway, Row, put};
use crate::problem::Problem;
use crate::records::{Alarm, AlarmEnd, AlarmRecord};
use crate::store::{Expect, Space};

/// Raises an alarm together with its entry. One that stands, or that somebody has acknowledged, is not raised again:
/// its entry is made alone. What passes is raised each time that it comes.
pub async fn raise(gateway: &Gateway, what: Alarm, entry: Happened) -> Result<(), Problem> {
    let key = AlarmRecord::key(&what.id());
    let before = gateway.row::<AlarmRecord>(Space::Index, &key)?;
    let stands = |row: &Row<AlarmRecord>| match row.value.ended {
        None => true,
        Some(AlarmEnd::Acknowledged(_)) => !row.value.what.passes(),
        Some(AlarmEnd::Recovered { .. }) => false,
    };
    let mut change = Change::default();
    if !before.as_ref().is_some_and(stands) {
        let record = AlarmRecord { what, since: stamp(gateway.now()), ended: None };
        let expect = before.map_or(Expect::Absent, |row| row.unchanged());
        change.puts.push(put(Space::Index, &key, &record, expect));
    }
    gateway.enter(entry, change).await
}

/// Whether an alarm of this name is known, whatever became of it.
pub fn is_known(gateway: &Gateway, what: &Alarm) -> Result<bool, Problem> {
    Ok(gateway.row::<AlarmRecord>(Space::Index, &AlarmRecord::key(&what.id()))?.is_some())
}

/// The alarm of this name, if it stands.
pub fn standing(gateway: &Gateway, id: &str) -> Result<Option<Row<AlarmRecord>>, Problem> {
    let row = gateway.row::<AlarmRecord>(Space::Index, &AlarmRecord::key(id))?;
    Ok(row.filter(|row| row.value.ended.is_none()))
}

/// Every alarm, with its name.
pub fn all(gateway: &Gateway) -> Result<Vec<AlarmRecord>, Problem> {
    let rows = gateway.rows::<AlarmRecord>(Space::Index, AlarmRecord::PREFIX.as_bytes())?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// Ends an alarm, and enters how.
pub async fn end(gateway: &Gateway, row: Row<AlarmRecord>, how: AlarmEnd) -> Result<AlarmRecord, Problem> {
    let expect = row.unchanged();
    let entry = match &how {
        AlarmEnd::Recovered { .. } => Happened::alarm_ended(&row.value.what.id(), "recovered"),
        AlarmEnd::Acknowledged(word) => Happened::alarm_ended(&row.value.what.id(), "acknowledged").by(word.by),
    };
    let ended = AlarmRecord { ended: Some(how), ..row.value };
    let change = Change { puts: vec![put(Space::Index, &row.key, &ended, expect)], ..Change::default() };
    gateway.enter(entry, change).await?;
    Ok(ended)
}
