//! The text of a policy set: every file by its name, the shipped ones and a site's own.
//!
//! Rule: what decides is exactly what is digested and kept. A file that somebody put into site/ is read or refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::PolicyError;
use crate::consent::terminology::TABLES;
use crate::id::Digest;

/// Every file of a set by its name, such as `base/release.cedar`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Texts(BTreeMap<String, String>);

impl Texts {
    pub(super) fn shipped() -> Self {
        let tables = TABLES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let own = BASE.iter().chain(&WHOLE).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Self(own.chain(tables).collect())
    }

    pub(super) fn load(dir: &Path) -> Result<Self, PolicyError> {
        for (file, shipped) in BASE.iter().chain(&WHOLE).copied() {
            let path = dir.join(file);
            if path.exists() && read(&path)? != shipped {
                return Err(PolicyError::NotShipped { file: path.display().to_string() });
            }
        }
        let is_shipped = |path: &PathBuf| BASE.iter().any(|(file, _)| dir.join(file) == *path);
        let is_policy = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cedar");
        if let Some(extra) = files(&dir.join("base"))?.into_iter().find(|path| is_policy(path) && !is_shipped(path)) {
            return Err(PolicyError::NotShipped { file: extra.display().to_string() });
        }
        let mut texts = Self::shipped();
        for path in files(&dir.join("site"))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !is_aside(&name) {
                texts.add_site(&name, read(&path)?)?;
            }
        }
        Ok(texts)
    }

    pub(super) fn add_site(&mut self, name: &str, text: String) -> Result<(), PolicyError> {
        let file = format!("site/{name}");
        let is_policy = Path::new(name).extension().is_some_and(|extension| extension == "cedar");
        if !is_policy && name != COUNTRIES_FILE && name != LINKS_FILE {
            return Err(PolicyError::Stray { file });
        }
        self.0.insert(file, text);
        Ok(())
    }

    pub(super) fn schema(&self) -> &str {
        self.text(SCHEMA_FILE)
    }

    pub(super) fn countries(&self) -> &str {
        self.text(COUNTRIES_FILE)
    }

    /// The files whose names begin with `prefix`, in the order of their names.
    pub(super) fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let found = self.0.iter().filter(move |(name, _)| name.starts_with(prefix));
        found.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("texts serialise")
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// SHA-256 over the tables of purposes and sensitivities by which this version decides.
pub fn terminology_digest() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| {
        let tables: BTreeMap<&str, &str> = TABLES.iter().copied().collect();
        Digest::of(&serde_json::to_vec(&tables).expect("texts serialise"))
    });
    *DIGEST
}

/// What may lie in site/ without being part of the set: notes, and what an editor leaves.
fn is_aside(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || Path::new(name).extension().is_some_and(|end| end == "md")
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let error = |source| PolicyError::Read { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut files =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(error)?;
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_owned(), source };
    let found = path.metadata().map_err(failed)?.len();
    if found > FILE_BYTES_MAX {
        return Err(PolicyError::TooLarge { file: path.display().to_string(), found });
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// The largest policy file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) const SCHEMA_FILE: &str = "gateway.cedarschema";
pub(super) const COUNTRIES_FILE: &str = "countries.json";
pub(super) const LINKS_FILE: &str = "links.json";
const WHOLE: [(&str, &str); 2] = [
    (SCHEMA_FILE, include_str!("../../policies/gateway.cedarschema")),
    (COUNTRIES_FILE, include_str!("../../policies/countries.json")),
];
const BASE: [(&str, &str); 7] = [
    ("base/always.cedar", include_str!("../../policies/base/always.cedar")),
    ("base/break-glass.cedar", include_str!("../../policies/base/break-glass.cedar")),
    ("base/minors.cedar", include_str!("../../policies/base/minors.cedar")),
    ("base/release.cedar", include_str!("../../policies/base/release.cedar")),
    ("base/return-opinion.cedar", include_str!("../../policies/base/return-opinion.cedar")),
    ("base/templates.cedar", include_str!("../../policies/base/templates.cedar")),
    ("base/transfer.cedar", include_str!("../../policies/base/transfer.cedar")),
];
