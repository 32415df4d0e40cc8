//! Sealed parts: what names or describes a person, cut into pieces that the store takes, each under the person's key.
//!
//! Rule: nothing personal reaches the store in another way, because the store never really deletes; without the key,
//! which lies outside it, a part is noise.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Gateway;
use crate::id::SubjectId;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::{Expect, Put, Space};
use crate::subject::SubjectKey;

impl Gateway {
    /// Seals `value` under the subject's key into puts below `name`; an older, longer value leaves no piece behind
    /// that would be read.
    pub fn seal_parts<T: Serialize>(
        &self,
        space: Space,
        name: &[u8],
        subject: &SubjectId,
        value: &T,
    ) -> Result<Vec<Put>, Problem> {
        let person = self.known_person(subject)?;
        let plain = Zeroizing::new(serde_json::to_vec(value).expect("records serialise"));
        let pieces: Vec<&[u8]> = plain.chunks(PIECE_BYTES).collect();
        Ok(pieces
            .iter()
            .enumerate()
            .map(|(number, piece)| {
                let place = part_key(name, number);
                let context = context(space, &place, pieces.len());
                let mut value = u32::try_from(pieces.len()).expect("a limit keeps parts few").to_be_bytes().to_vec();
                value.extend_from_slice(&person.key.seal(&context, piece));
                Put { space: Space::Sealed, key: person.store_key(space, &place), expect: Expect::Any, value }
            })
            .collect())
    }

    /// What is on file about a person, to be opened; `None` when the subject was erased.
    pub fn person(&self, subject: &SubjectId) -> Result<Option<Person<'_>>, Problem> {
        let key = self.subjects.key(subject).map_err(|error| Problem::internal("a subject's key", &error))?;
        Ok(key.map(|key| Person { gateway: self, subject: subject.clone(), key }))
    }

    /// A person of whom there must be something on file.
    pub(super) fn known_person(&self, subject: &SubjectId) -> Result<Person<'_>, Problem> {
        self.person(subject)?.ok_or_else(|| Problem::conflict("this patient's data was erased"))
    }

    /// Opens what [`Gateway::seal_parts`] sealed; `None` when there is nothing, or the subject was erased.
    pub fn open_parts<T: DeserializeOwned>(
        &self,
        space: Space,
        name: &[u8],
        subject: &SubjectId,
    ) -> Result<Option<T>, Problem> {
        self.person(subject)?.map_or(Ok(None), |person| person.parts(space, name))
    }
}

/// A person whose key was read once, for whoever opens more than one thing.
pub struct Person<'a> {
    gateway: &'a Gateway,
    subject: SubjectId,
    pub(super) key: SubjectKey,
}

impl std::fmt::Debug for Person<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(hidden)")
    }
}

impl Person<'_> {
    /// Opens what [`Gateway::seal_parts`] sealed; `None` when there is nothing.
    pub fn parts<T: DeserializeOwned>(&self, space: Space, name: &[u8]) -> Result<Option<T>, Problem> {
        let mut plain = Zeroizing::new(Vec::new());
        let (mut number, mut count) = (0, 1);
        while number < count {
            let place = part_key(name, number);
            let stored = self
                .gateway
                .store()
                .get(Space::Sealed, &self.store_key(space, &place))
                .map_err(|error| Problem::internal("the store", &error))?;
            let Some(stored) = stored else { return Ok(None) };
            let (head, sealed) = stored.value.split_first_chunk::<4>().ok_or_else(damaged)?;
            count = u32::from_be_bytes(*head) as usize;
            let piece = self.key.open(&context(space, &place, count), sealed).map_err(|_| damaged())?;
            plain.extend_from_slice(&piece);
            number += 1;
        }
        serde_json::from_slice(&plain).map(Some).map_err(|_| damaged())
    }

    /// A person's parts lie side by side, so that a decision reads a page or two of the store and not one for each.
    fn store_key(&self, space: Space, place: &[u8]) -> Vec<u8> {
        [self.subject.as_str().as_bytes(), b"/", &[space.prefix()], place].concat()
    }
}

fn part_key(name: &[u8], number: usize) -> Vec<u8> {
    [name, format!("/{number:06}").as_bytes()].concat()
}

/// Binds a piece to its place and to the number of pieces, so that none can be swapped, dropped or cut off.
fn context(space: Space, place: &[u8], count: usize) -> Vec<u8> {
    [b"medseal-part-v1\0", &[space.prefix()][..], place, format!("\0{count}").as_bytes()].concat()
}

fn damaged() -> Problem {
    let error = std::io::Error::other("it does not open with its subject's key");
    Problem { code: Reason::Tampered, ..Problem::internal("a sealed part", &error) }
}

const PIECE_BYTES: usize = 48 * 1024;
