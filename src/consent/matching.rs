//! One provision against one request: element by element, and how surely each fits.
//!
//! Rule: [`Fit`] carries the asymmetry. A permit needs every element to fit surely; a denial holds unless one element
//! surely does not. So whatever is missing, assumed or not evaluated weighs towards no.

use jiff::tz::TimeZone;

use crate::bundle::document::{ConfidentialityCode, DateRange, Document};
use crate::id::{InstitutionId, Purpose};
use crate::reason::Reason;

use super::moment::{Period, midnight};
use super::terminology::{Fit, purposes, sensitivities};
use super::{Class, Code, Label, Limits, Recipient};

impl Limits {
    /// Whether `recipient` is among the recipients.
    pub(super) fn fits_recipient(&self, recipient: &InstitutionId) -> Fit {
        if self.recipients.is_empty() {
            return Fit::Yes;
        }
        Fit::any(self.recipients.iter().map(|named| match named {
            Recipient::Institution(id) => Fit::of(id == recipient),
            Recipient::Unresolved => Fit::Unknown,
        }))
    }

    /// Whether `purpose` lies within the purposes.
    pub(super) fn fits_purpose(&self, purpose: &Purpose) -> Fit {
        if self.purposes.is_empty() {
            return Fit::Yes;
        }
        Fit::any(self.purposes.iter().map(|listed| match listed {
            Code::Known(listed) => purposes().within(purpose.as_str(), listed),
            Code::Elsewhere => Fit::Unknown,
        }))
    }

    /// Whether sending records is among the actions.
    pub(super) fn fits_sending(&self) -> Fit {
        if self.actions.is_empty() {
            return Fit::Yes;
        }
        Fit::any(self.actions.iter().map(|action| match action {
            Code::Known(code) if code == "disclose" || code == "access" => Fit::Yes,
            _ => Fit::Unknown,
        }))
    }

    /// Whether it is limited to some documents only.
    pub(super) fn depends_on_the_document(&self) -> bool {
        !(self.labels.is_empty() && self.classes.is_empty() && self.data_period.is_none())
    }

    /// As a permit: why `document` is not surely covered, or `None`.
    pub(super) fn leaves_out(&self, document: &Document, zone: &TimeZone) -> Option<Reason> {
        [
            (Reason::DocumentClass, self.fits_class(document)),
            (Reason::Date, self.fits_date(document.date, zone)),
            (Reason::Confidentiality, self.covers_confidentiality(document)),
            (Reason::Sensitivity, self.covers_sensitivity(document)),
        ]
        .into_iter()
        .find_map(|(reason, fit)| (fit != Fit::Yes).then_some(reason))
    }

    /// As a permit: whether `document` is covered.
    pub(super) fn covers(&self, document: &Document, zone: &TimeZone) -> Fit {
        Fit::all([
            self.fits_class(document),
            self.fits_date(document.date, zone),
            self.covers_confidentiality(document),
            self.covers_sensitivity(document),
        ])
    }

    /// As a denial: whether it is about `document`.
    pub(super) fn denies(&self, document: &Document, zone: &TimeZone) -> Fit {
        Fit::all([self.fits_class(document), self.fits_date(document.date, zone), self.fits_a_label(document)])
    }

    /// Whether the permit names every sensitivity of `document`, or one that contains it.
    pub(super) fn names_sensitivities_of(&self, document: &Document) -> bool {
        let named = |code: &String| Fit::any(self.sensitivities().map(|listed| sensitivities().within(code, listed)));
        document.sensitivity.iter().all(|code| named(code) == Fit::Yes)
    }

    fn fits_class(&self, document: &Document) -> Fit {
        if self.classes.is_empty() {
            return Fit::Yes;
        }
        let media_type = document.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Fit::any(self.classes.iter().map(|class| match class {
            Class::Loinc(code) => document.class.as_ref().map_or(Fit::Unknown, |class| Fit::of(class == code)),
            Class::MediaType(_) if media_type.is_empty() || media_type == "application/octet-stream" => Fit::Unknown,
            Class::MediaType(listed) => Fit::of(*listed == media_type),
            Class::Elsewhere => Fit::Unknown,
        }))
    }

    fn fits_date(&self, date: Option<DateRange>, zone: &TimeZone) -> Fit {
        match (self.data_period, date) {
            (None, _) => Fit::Yes,
            (Some(_), None) => Fit::Unknown,
            (Some(period), Some(date)) => within(period, date, zone),
        }
    }

    /// High-water mark: a permit for `R` covers what is `R` or lower.
    fn covers_confidentiality(&self, document: &Document) -> Fit {
        if self.labels.is_empty() {
            return Fit::Yes;
        }
        if document.confidentiality.assumed {
            return Fit::Unknown;
        }
        let mark = self.confidentialities().max();
        let found =
            if self.names_sensitivities_of(document) { document.confidentiality.code } else { raised(document) };
        match mark {
            Some(mark) => Fit::of(found <= mark),
            None if self.sensitivities().next().is_some() => Fit::Yes,
            None => Fit::Unknown,
        }
    }

    fn covers_sensitivity(&self, document: &Document) -> Fit {
        if self.sensitivities().next().is_none() {
            return Fit::Yes;
        }
        if document.sensitivity.is_empty() {
            // A permit for psychiatric records alone is not one for all others.
            return Fit::of(self.confidentialities().next().is_some());
        }
        Fit::of(self.names_sensitivities_of(document))
    }

    /// High-water mark, as a denial: a denial of `R` also denies what is above.
    fn fits_a_label(&self, document: &Document) -> Fit {
        if self.labels.is_empty() {
            return Fit::Yes;
        }
        let otherwise = if document.confidentiality.assumed { Fit::Unknown } else { Fit::No };
        Fit::any(self.labels.iter().map(|label| match label {
            Label::Confidentiality(mark) if raised(document) >= *mark => Fit::Yes,
            Label::Confidentiality(_) => otherwise,
            Label::Sensitivity(listed) => {
                let codes = document.sensitivity.iter();
                Fit::any(codes.map(|code| sensitivities().within(code, listed))).max(otherwise)
            }
            Label::Elsewhere => Fit::Unknown,
        }))
    }

    fn confidentialities(&self) -> impl Iterator<Item = ConfidentialityCode> {
        self.labels.iter().filter_map(|label| match label {
            Label::Confidentiality(code) => Some(*code),
            _ => None,
        })
    }

    fn sensitivities(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(|label| match label {
            Label::Sensitivity(code) => Some(code.as_str()),
            _ => None,
        })
    }
}

/// A stigmatising record is at least restricted, whatever its label says (IHE PCF 1.1, appendix P).
fn raised(document: &Document) -> ConfidentialityCode {
    let stated = document.confidentiality.code;
    if document.sensitivity.is_empty() { stated } else { stated.max(ConfidentialityCode::R) }
}

/// `Yes` if the days lie wholly inside, `No` if wholly outside, `Unknown` if they reach across an end.
fn within(period: Period, date: DateRange, zone: &TimeZone) -> Fit {
    let first = midnight(date.first(), zone, false);
    let end = date.last().tomorrow().map_or(crate::clock::Timestamp::MAX, |next| midnight(next, zone, true));
    let (from, until) = (period.from(zone), period.until(zone));
    if end <= from || until.is_some_and(|until| until <= first) {
        return Fit::No;
    }
    // Each day is compared by the same reading of midnight, so that a day is always inside itself.
    let inside = midnight(date.first(), zone, true) >= from
        && until.is_none_or(|until| date.last().tomorrow().is_ok_and(|next| midnight(next, zone, false) <= until));
    if inside { Fit::Yes } else { Fit::Unknown }
}
