//! The shipped templates, filled in for a partner by a site's own list of links.
//!
//! Rule: a template forbids, so a link takes away and never adds.

use cedar_policy::{PolicyId, SlotId};
use serde::Deserialize;

use super::facts::partner_uid;
use super::{Policy, PolicyError, Rule, reason_of};
use crate::id::InstitutionId;

/// The form of `site/links.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    links: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    /// The `@id` of a template in base/templates.cedar.
    template: String,
    /// The id of the rule that it becomes.
    id: String,
    /// The partner for whom it holds.
    partner: InstitutionId,
}

impl Policy {
    pub(super) fn link(&mut self, file: &str, text: &str) -> Result<(), PolicyError> {
        let refused = |what: String| PolicyError::Links { file: file.to_owned(), what };
        let list: File = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        for Link { template, id, partner } in list.links {
            let Some(found) = self.set.template(&PolicyId::new(&template)) else {
                return Err(refused(format!("the link {id} names {template}, which is no template")));
            };
            if id.trim().is_empty() || self.rules.contains_key(&id) {
                return Err(refused(format!("the link {id} has no id of its own")));
            }
            let said = |name| found.annotation(name).unwrap_or_default().to_owned();
            let reason = reason_of(file, &id, &said("reason"))?;
            let rule = Rule { id: id.clone(), says: said("says"), reason: Some(reason), file: file.to_owned() };
            let slots = std::iter::once((SlotId::principal(), partner_uid(&partner)));
            self.set
                .link(PolicyId::new(&template), PolicyId::new(&id), slots.collect())
                .map_err(|error| refused(format!("the link {id}: {error}")))?;
            self.rules.insert(id, rule);
        }
        Ok(())
    }
}
