//! Rows of the store as records: read with their version, so that a change can expect what was read.

use serde::de::DeserializeOwned;

use super::Gateway;
use crate::problem::Problem;
use crate::store::{Expect, Space};

/// A record with its key and the version that was read.
#[derive(Clone, Debug)]
pub struct Row<T> {
    /// The key in its space.
    pub key: Vec<u8>,
    /// The version that was read.
    pub version: u64,
    /// The record.
    pub value: T,
}

impl<T> Row<T> {
    /// What a change of this row must find.
    pub const fn unchanged(&self) -> Expect {
        Expect::Version(self.version)
    }
}

impl Gateway {
    /// The record under `key`.
    pub fn row<T: DeserializeOwned>(&self, space: Space, key: &[u8]) -> Result<Option<Row<T>>, Problem> {
        let found = self.store().get(space, key).map_err(|error| Problem::internal("the store", &error))?;
        found
            .map(|found| {
                let value = read(&found.value)?;
                Ok(Row { key: key.to_vec(), version: found.version, value })
            })
            .transpose()
    }

    /// Every record whose key starts with `prefix`, in the order of the keys.
    pub fn rows<T: DeserializeOwned>(&self, space: Space, prefix: &[u8]) -> Result<Vec<Row<T>>, Problem> {
        let mut rows = Vec::new();
        self.each_key(space, prefix, |key, version, bytes| {
            rows.push(Row { key, version, value: read(&bytes)? });
            Ok(())
        })?;
        Ok(rows)
    }

    /// Visits every key that starts with `prefix`, page by page.
    pub fn each_key(
        &self,
        space: Space,
        prefix: &[u8],
        mut visit: impl FnMut(Vec<u8>, u64, Vec<u8>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self
                .store()
                .scan(space, prefix, after.as_deref(), PAGE)
                .map_err(|error| Problem::internal("the store", &error))?;
            let full = page.len() == PAGE;
            for (key, found) in page {
                after = Some(key.clone());
                visit(key, found.version, found.value)?;
            }
            if !full {
                return Ok(());
            }
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::internal("a record of the store", &error))
}

const PAGE: usize = 256;
