//! JSON as FHIR writes it, read strictly: what is not exactly understood is refused.
//!
//! Rule: no duplicate key, no null, nothing empty, nothing after the end, bounded depth. serde alone would let the
//! last of two equal keys win in silence, and a constraint on a consent would vanish with the first.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::ConsentError;

/// A JSON value without its number's digits: no number decides anything in a consent.
#[derive(Debug)]
pub(super) enum Tree {
    Flag(bool),
    Number,
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Tree {
    /// Reads one JSON value that fills `bytes` wholly.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ConsentError> {
        if bytes.len() > BYTES_MAX {
            return Err(ConsentError::TooLarge { found: bytes.len(), allowed: BYTES_MAX });
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let tree = Seed { depth: 1 }.deserialize(&mut json).map_err(ConsentError::Json)?;
        json.end().map_err(ConsentError::Json)?;
        Ok(tree)
    }

    /// The value of `key`, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(key),
            _ => None,
        }
    }

    /// The text of `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The elements of `key`: none if it is absent.
    pub(super) fn list(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }
}

#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
}

impl Seed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < DEPTH_MAX { Ok(Self { depth: self.depth + 1 }) } else { Err(E::custom("nested too deeply")) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Tree;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that FHIR allows (it has no null outside of lists)")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tree, E> {
        if text.trim().is_empty() {
            return Err(E::custom("an empty text, which FHIR does not allow"));
        }
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(seed)? {
            list.push(element);
        }
        if list.is_empty() {
            return Err(A::Error::custom("an empty list, which FHIR does not allow"));
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let seed = self.deeper()?;
        let mut fields = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(seed)?;
            if fields.insert(key, value).is_some() {
                return Err(A::Error::custom("the same key twice in one object"));
            }
        }
        if fields.is_empty() {
            return Err(A::Error::custom("an empty object, which FHIR does not allow"));
        }
        Ok(Tree::Object(fields))
    }
}

/// No consent is larger; a scan of the paper belongs beside it, not inside.
pub(super) const BYTES_MAX: usize = 256 * 1024;
const DEPTH_MAX: usize = 16;
