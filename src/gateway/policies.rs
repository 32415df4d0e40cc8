//! The policy sets of a gateway: the one in force, how another takes its place, and those of the past.
//!
//! Rule: a set decides only when its whole text is kept under its digest, and takes another's place only when the log
//! says so. A set that is not valid changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::{Gateway, GatewayError};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::config::Home;
use crate::durable;
use crate::id::Digest;
use crate::policy::Policy;
use crate::problem::Problem;

/// What reading the policy folder anew came to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reloaded {
    /// The digest of the set that was in force.
    pub before: Digest,
    /// The digest of the set in force now.
    pub digest: Digest,
    /// How many rules it has.
    pub rules: usize,
    /// Whether it is another one.
    pub changed: bool,
}

impl Gateway {
    /// Reads the policy folder anew and puts the set that it finds in force; `by` is the user who asked, `None` the
    /// operating system's signal.
    ///
    /// Permits in hand are worth nothing afterwards: whatever waits or is on its way is decided by the new set. A folder
    /// that does not hold a valid set leaves the old one in force, which is recorded, too.
    pub async fn reload_policy(&self, by: Option<u32>) -> Result<Reloaded, Problem> {
        let _one_at_a_time = self.reloading.lock().await;
        let home = self.home.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&home))
            .await
            .map_err(|error| Problem::internal("reading the policy", &error))?;
        let before = self.policy().digest();
        let by_whom = |event: Happened| match by {
            Some(uid) => event.by(uid),
            None => event,
        };
        let policy = match loaded {
            Ok(policy) => policy,
            Err(GatewayError::Policy(error)) => {
                tracing::warn!(%error, in_force = %before, "a policy set was refused; the old one stays in force");
                let refused = Happened::policy_refused(before, error.reason());
                self.enter(by_whom(refused), Change::default()).await?;
                let detail = format!("{error}\nthe set {before} stays in force");
                return Err(Problem::refused(error.reason(), detail));
            }
            Err(error) => return Err(Problem::internal("the policy", &error)),
        };
        let (digest, rules) = (policy.digest(), policy.rules().count());
        self.enter(by_whom(Happened::policy_reloaded(before, digest)), Change::default()).await?;
        *self.policy.write().expect("no one panics while holding the policy") = policy;
        // Only now: whoever reads this count before deciding and after it has decided by the new set.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.changes.send_modify(|count| *count += 1);
        tracing::info!(%before, %digest, rules, "the policy was read anew");
        Ok(Reloaded { before, digest, rules, changed: digest != before })
    }

    /// The set with this digest, if it is in force or ever was; `None` if its text is not kept here.
    pub fn policy_of(&self, digest: Digest) -> Result<Option<Arc<Policy>>, Problem> {
        let in_force = self.policy();
        if in_force.digest() == digest {
            return Ok(Some(in_force));
        }
        match std::fs::read(kept(&self.home, digest)) {
            Ok(bytes) => match Policy::from_kept(&bytes, digest) {
                Ok(policy) => Ok(Some(Arc::new(policy))),
                Err(error) => Err(Problem::refused(error.reason(), error.to_string())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Problem::internal("a kept policy set", &error)),
        }
    }
}

/// Reads the policy folder, and keeps what it holds before anybody decides by it.
pub(super) fn load(home: &Home) -> Result<Arc<Policy>, GatewayError> {
    let policy = Policy::load(&home.policies())?;
    keep(home, &policy).map_err(|source| GatewayError::Io { what: "keeping the policy set", source })?;
    Ok(Arc::new(policy))
}

fn keep(home: &Home, policy: &Policy) -> std::io::Result<()> {
    let (path, bytes) = (kept(home, policy.digest()), policy.to_keep());
    if std::fs::read(&path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    if !folder.is_dir() {
        durable::create_dir(folder, 0o755)?;
    }
    durable::replace(&path, &bytes, 0o644)
}

fn kept(home: &Home, digest: Digest) -> PathBuf {
    home.policies().join("kept").join(format!("{digest}.json"))
}
