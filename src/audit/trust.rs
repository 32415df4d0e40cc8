//! Whose signatures a reader trusts under a log, and how many of them are enough: C2SP tlog-policy.
//!
//! Rule: a policy in hand is whole. Every name in it was defined on an earlier line and counts in one way only, so that
//! no witness is counted twice and no group contains itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use crate::audit::export::{ExportReport, read_note, verify_export};
use crate::audit::note::{Checkpoint, LogKey, NoteError, NoteKey, WitnessKey};
use crate::audit::verify::{Finding, Kind};
use crate::clock::{Timestamp, stamp};

/// The longest policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// The logs, the witnesses, and the rule that says which of their signatures are enough.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustPolicy {
    logs: Vec<LogKey>,
    witnesses: BTreeMap<String, WitnessKey>,
    groups: BTreeMap<String, Group>,
    quorum: Option<String>,
    /// As it was written.
    text: String,
}

/// So many of these.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    wanted: usize,
    members: Vec<String>,
}

/// How a note stands with a policy. Its log's signature has been verified.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// How many entries the note covers.
    pub entries: u64,
    /// The signatures that count.
    pub countersigned: Vec<Countersigned>,
    /// Whether they are enough.
    pub enough: bool,
    /// What would be enough, in words.
    pub wanted: String,
}

/// One signature that counts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Countersigned {
    /// The witness, as the policy calls it.
    pub by: String,
    /// Its key.
    pub key: WitnessKey,
    /// Since when this checkpoint cannot be taken back, by the witness's clock.
    pub since: String,
}

/// Why a text is no policy: the line, and what is wrong there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TrustPolicyError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadTrustError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is none.
    #[error(transparent)]
    Form(#[from] TrustPolicyError),
}

impl TrustPolicy {
    /// Any one of these witnesses is enough under the logs of these keys; without witnesses, the log's own signature.
    pub fn any_of(logs: &[LogKey], witnesses: &[WitnessKey]) -> Result<Self, TrustPolicyError> {
        let mut lines: Vec<String> = logs.iter().map(|key| format!("log {key}\n")).collect();
        let mut names = vec!["group any-one any".to_owned()];
        let mut known = BTreeSet::new();
        for key in witnesses {
            // A key that two cards name is still one witness.
            if known.insert(*key.public()) {
                let name = format!("{}/{}", key.name(), known.len());
                lines.push(format!("witness {name} {key}\n"));
                names.push(name);
            }
        }
        let quorum =
            if known.is_empty() { "quorum none\n".into() } else { format!("{}\nquorum any-one\n", names.join(" ")) };
        lines.push(quorum);
        lines.concat().parse()
    }

    /// Reads a policy from a file.
    pub fn read(path: &Path) -> Result<Self, ReadTrustError> {
        let mut text = Vec::new();
        File::open(path)?.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
        if text.len() > POLICY_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let text = String::from_utf8(text).map_err(|_| TrustPolicyError { line: 1, what: "not UTF-8".into() })?;
        Ok(text.parse()?)
    }

    /// The same for one log, if the policy names none.
    #[must_use]
    pub fn or_log(mut self, key: &LogKey) -> Self {
        if self.logs.is_empty() {
            self.logs.push(key.clone());
            self.text = format!("log {key}\n{}", self.text);
        }
        self
    }

    /// The keys of the logs.
    pub fn logs(&self) -> &[LogKey] {
        &self.logs
    }

    /// The keys of the witnesses.
    pub fn witnesses(&self) -> Vec<WitnessKey> {
        self.witnesses.values().cloned().collect()
    }

    /// Whether anybody's signature is wanted besides the log's.
    pub const fn wants_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// How a note stands: its own log's signature counts, and a bad line of any key of the policy condemns it.
    pub fn judge(&self, note: &[u8]) -> Result<Standing, NoteError> {
        let checkpoint = Checkpoint::open(note, &self.logs)?;
        let found = Checkpoint::cosignatures(note, &self.witnesses())?;
        let name_of = |key: &WitnessKey| self.witnesses.iter().find(|(_, known)| *known == key).map(|(name, _)| name);
        let countersigned: Vec<_> = found
            .into_iter()
            .filter_map(|one| {
                let by = name_of(&one.key)?.clone();
                let time = i64::try_from(one.time).ok().and_then(|second| Timestamp::from_second(second).ok());
                let since = time.map_or_else(|| format!("{} seconds after 1970", one.time), stamp);
                Some(Countersigned { by, key: one.key, since })
            })
            .collect();
        let signed: BTreeSet<&str> = countersigned.iter().map(|one| one.by.as_str()).collect();
        let enough = self.quorum.as_deref().is_none_or(|quorum| self.holds(quorum, &signed));
        Ok(Standing { entries: checkpoint.size, countersigned, enough, wanted: self.wanted() })
    }

    /// Whether a witness signed, or enough of a group did. A group names only what was defined before it: this ends.
    fn holds(&self, name: &str, signed: &BTreeSet<&str>) -> bool {
        self.groups.get(name).map_or_else(
            || signed.contains(name),
            |group| group.members.iter().filter(|member| self.holds(member, signed)).count() >= group.wanted,
        )
    }

    fn wanted(&self) -> String {
        self.quorum.as_deref().map_or_else(|| "nobody besides the log".to_owned(), |quorum| self.words(quorum))
    }

    fn words(&self, name: &str) -> String {
        let Some(group) = self.groups.get(name) else { return name.to_owned() };
        let members: Vec<_> = group.members.iter().map(|member| self.words(member)).collect();
        format!("{} of ({})", group.wanted, members.join(", "))
    }
}

impl fmt::Display for TrustPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TrustPolicy {
    type Err = TrustPolicyError;
    fn from_str(text: &str) -> Result<Self, TrustPolicyError> {
        let mut reading = Reading::default();
        let mut line = 0;
        for words in text.split('\n') {
            line += 1;
            reading.line(words).map_err(|what| TrustPolicyError { line, what })?;
        }
        // Nobody wants to trust half a policy: a file that was cut off has no quorum line.
        let quorum = reading.quorum.ok_or_else(|| TrustPolicyError { line, what: "there is no quorum line".into() })?;
        let quorum = Some(quorum).filter(|name| name != NONE);
        let Reading { logs, witnesses, groups, .. } = reading;
        Ok(Self { logs, witnesses, groups, quorum, text: text.to_owned() })
    }
}

#[derive(Default)]
struct Reading {
    logs: Vec<LogKey>,
    witnesses: BTreeMap<String, WitnessKey>,
    groups: BTreeMap<String, Group>,
    /// The names that are members of a group already.
    used: BTreeSet<String>,
    /// The name on the quorum line.
    quorum: Option<String>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err("a control character".into());
        }
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let Some(verb) = words.next().filter(|verb| !verb.starts_with('#')) else { return Ok(()) };
        let words: Vec<_> = words.collect();
        match (verb, words.as_slice()) {
            ("log", [key] | [key, _]) => {
                let key = read_key(key)?;
                if self.logs.iter().any(|known: &LogKey| known.public() == key.public()) {
                    return Err("this log's key stands on an earlier line".into());
                }
                self.logs.push(key);
            }
            ("witness", [name, key] | [name, key, _]) => {
                let key: WitnessKey = read_key(key)?;
                if self.witnesses.values().any(|known| known.public() == key.public()) {
                    return Err("this witness's key stands on an earlier line".into());
                }
                self.define(name)?;
                self.witnesses.insert((*name).to_owned(), key);
            }
            ("group", [name, count, members @ ..]) if !members.is_empty() => {
                let group = self.group(count, members)?;
                self.define(name)?;
                self.groups.insert((*name).to_owned(), group);
            }
            ("quorum", [name]) => {
                if self.quorum.is_some() {
                    return Err("there is a quorum line already".into());
                }
                if *name != NONE {
                    self.must_know(name)?;
                }
                self.quorum = Some((*name).to_owned());
            }
            ("log", _) => return Err("a log line is `log VKEY [URL]`".into()),
            ("witness", _) => return Err("a witness line is `witness NAME VKEY [URL]`".into()),
            ("group", _) => return Err("a group line is `group NAME all|any|NUMBER MEMBER...`".into()),
            ("quorum", _) => return Err("a quorum line is `quorum NAME` or `quorum none`".into()),
            _ => return Err(format!("no such word: {}", shown(verb))),
        }
        Ok(())
    }

    fn group(&mut self, count: &str, members: &[&str]) -> Result<Group, String> {
        let number = || count.parse().ok().filter(|number: &usize| number.to_string() == count);
        let wanted = match count {
            "all" => Some(members.len()),
            "any" => Some(1),
            _ => number(),
        };
        let wanted = wanted.filter(|wanted| (1..=members.len()).contains(wanted));
        let wanted = wanted.ok_or_else(|| format!("all, any or a number from 1 to {} is wanted", members.len()))?;
        for member in members {
            self.must_know(member)?;
            if !self.used.insert((*member).to_owned()) {
                return Err(format!("{} is a member already, and counts once", shown(member)));
            }
        }
        Ok(Group { wanted, members: members.iter().map(|member| (*member).to_owned()).collect() })
    }

    fn define(&self, name: &str) -> Result<(), String> {
        if name == NONE {
            return Err("none is not a name".into());
        }
        if self.knows(name) {
            return Err(format!("{} is defined on an earlier line", shown(name)));
        }
        Ok(())
    }

    fn must_know(&self, name: &str) -> Result<(), String> {
        if self.knows(name) { Ok(()) } else { Err(format!("{} is not defined on an earlier line", shown(name))) }
    }

    fn knows(&self, name: &str) -> bool {
        self.witnesses.contains_key(name) || self.groups.contains_key(name)
    }
}

fn read_key<const TYPE: u8>(text: &str) -> Result<NoteKey<TYPE>, String> {
    text.parse().map_err(|error: NoteError| error.to_string())
}

/// No more of somebody's text than a line can show.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Verifies an export by a policy: its logs are the keys, and its quorum must have signed under the checkpoint.
pub fn verify_export_by(
    dir: &Path,
    policy: &TrustPolicy,
    trusted: Option<&Checkpoint>,
    progress: impl FnMut(u64),
) -> io::Result<(ExportReport, Option<Standing>)> {
    // Without a key the export would vouch for itself.
    if policy.logs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the policy names no log"));
    }
    let mut export = verify_export(dir, policy.logs(), trusted, progress)?;
    let standing = policy.judge(&read_note(dir)?);
    let seq = export.report.entries;
    let finding = match &standing {
        Ok(standing) => standing.finding(seq),
        Err(why) => {
            Some(Finding { seq, kind: Kind::BadSignature, message: format!("the checkpoint does not count: {why}") })
        }
    };
    export.report.finding = export.report.finding.or(finding);
    export.report.ok = export.report.finding.is_none();
    Ok((export, standing.ok()))
}

impl Standing {
    /// What is wrong if the signatures are not enough; `seq` is the number of entries.
    pub fn finding(&self, seq: u64) -> Option<Finding> {
        let message = || {
            let by: Vec<_> = self.countersigned.iter().map(|one| one.by.as_str()).collect();
            let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
            format!("the checkpoint is countersigned by {by}; wanted is {}", self.wanted)
        };
        (!self.enough).then(|| Finding { seq, kind: Kind::NotCountersigned, message: message() })
    }
}

/// The quorum that wants nobody.
const NONE: &str = "none";

#[cfg(test)]
mod tests;
