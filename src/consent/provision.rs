//! A consent as a tree of provisions: what it grants, what it denies, and how surely each holds for one document.
//!
//! Rule: an exception says the opposite of what it stands under. A denial holds unless it surely does not; what surely
//! lifts a denial is all that can lift it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::bundle::document::Document;
use crate::id::InstitutionId;

use super::evaluate::Question;
use super::terminology::Fit;
use super::{Consent, Effect, OPEN_ENDED_DAYS_MAX, Provision, Recipient, Status};

impl Consent {
    /// Whether it says anything at all about a release.
    pub(super) fn is_in_force(&self) -> bool {
        self.status == Status::Active && self.about_privacy
    }

    /// Its permissions, each of which may stand for itself; none: it is a denial.
    ///
    /// FHIR R5 can limit a permission to a recipient only as the exception to a base denial. Such a base states the
    /// default that we have anyway, and denies nothing that another consent permits.
    pub(super) fn grants(&self) -> Vec<&Provision> {
        match self.base.effect {
            Effect::Permit => std::iter::once(&self.base).chain(&self.added).collect(),
            Effect::Deny if self.base.exceptions.iter().any(|permit| permit.institutions().next().is_some()) => {
                self.base.exceptions.iter().collect()
            }
            Effect::Deny => Vec::new(),
        }
    }

    /// Its denials that may concern the request. Where a permission would hold, so do the denials beside it.
    pub(super) fn denials(&self, question: &Question<'_>) -> Vec<&Provision> {
        let grants = self.grants();
        if grants.is_empty() {
            return vec![&self.base];
        }
        let concerned = grants.iter().any(|grant| grant.fits_request(question) != Fit::No);
        match self.base.effect {
            Effect::Permit if concerned => self.base.exceptions.iter().collect(),
            Effect::Permit => Vec::new(),
            Effect::Deny => {
                let concerned = grants.into_iter().filter(|grant| grant.fits_request(question) != Fit::No);
                concerned.flat_map(|grant| &grant.exceptions).collect()
            }
        }
    }

    /// The first instant at which `grant` no longer permits; `None` if nothing tells.
    pub(super) fn until(&self, grant: &Provision, zone: &TimeZone) -> Option<Timestamp> {
        let periods = || [self.period, grant.period].into_iter().flatten();
        let begun = || self.given.or_else(|| periods().find_map(|period| period.start));
        let end = periods().filter_map(|period| period.until(zone)).min();
        let end = end.or_else(|| begun()?.start(zone).checked_add((24 * OPEN_ENDED_DAYS_MAX).hours()).ok())?;
        Some(self.terms.erase_at.map_or(end, |erase| end.min(erase.end(zone))))
    }

    /// The first instant at which `grant` permits.
    pub(super) fn from(&self, grant: &Provision, zone: &TimeZone) -> Timestamp {
        let periods = [self.period, grant.period].into_iter().flatten();
        periods.map(|period| period.from(zone)).max().unwrap_or(Timestamp::MIN)
    }
}

impl Provision {
    /// The institutions that it names.
    pub(super) fn institutions(&self) -> impl Iterator<Item = &InstitutionId> {
        self.limits.recipients.iter().filter_map(|recipient| match recipient {
            Recipient::Institution(id) => Some(id),
            Recipient::Unresolved => None,
        })
    }

    /// Whether recipient and purpose are those of the question.
    pub(super) fn fits_request(&self, question: &Question<'_>) -> Fit {
        Fit::all([self.limits.fits_recipient(question.recipient), self.limits.fits_purpose(question.purpose)])
    }

    /// Whether what it says depends on the document.
    pub(super) fn depends_on_the_document(&self) -> bool {
        self.limits.depends_on_the_document() || self.exceptions.iter().any(Self::depends_on_the_document)
    }

    /// Whether its word is what counts for `document`: it fits, and no exception to it holds.
    pub(super) fn holds(&self, question: &Question<'_>, document: &Document) -> Fit {
        let limits = &self.limits;
        let fits_document = match self.effect {
            Effect::Permit => limits.covers(document, question.zone),
            Effect::Deny => limits.denies(document, question.zone),
        };
        let evaluated = if limits.unsupported.is_empty() { Fit::Yes } else { Fit::Unknown };
        let fits =
            [self.fits_request(question), limits.fits_sending(), evaluated, self.in_time(question), fits_document];
        let excepted = Fit::any(self.exceptions.iter().map(|exception| exception.holds(question, document)));
        Fit::all(fits.into_iter().chain([excepted.opposite()]))
    }

    /// The first end of a permission below it that is still to come: what is lifted until then is denied after it.
    pub(super) fn lifted_until(&self, question: &Question<'_>) -> Option<Timestamp> {
        let end = |permit: &Self| permit.period?.until(question.zone).filter(|end| *end > question.now);
        self.exceptions
            .iter()
            .flat_map(|below| {
                let own = if below.effect == Effect::Permit { end(below) } else { None };
                [own, below.lifted_until(question)]
            })
            .flatten()
            .min()
    }

    /// A permission ends with its period; a denial holds until a person lifts it.
    fn in_time(&self, question: &Question<'_>) -> Fit {
        let Some(period) = self.period.filter(|_| self.effect == Effect::Permit) else { return Fit::Yes };
        let ended = period.until(question.zone).is_some_and(|until| until <= question.now);
        Fit::of(!ended && period.from(question.zone) <= question.now)
    }
}
