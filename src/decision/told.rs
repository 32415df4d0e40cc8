//! What the policy is told of the patient and of the consent that permits.
//!
//! Rule: everything that must be computed is computed here; the policy compares.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Request;
use crate::clock::Timestamp;
use crate::consent::{Granted, Grantor};
use crate::policy::{ConsentFacts, Policy};

/// The consent that permits.
pub(super) fn of_consent(granted: &Granted) -> ConsentFacts {
    let (grantor, grantor_verified) = match granted.grantor {
        Grantor::SelfGiven => ("self", false),
        Grantor::Parent { verified } => ("parent", verified),
        Grantor::Guardian { verified } => ("guardian", verified),
        Grantor::NotStated => ("not-stated", false),
    };
    ConsentFacts {
        until: granted.until,
        sensitivities_named: granted.sensitivities_named,
        given: granted.given,
        grantor: grantor.to_owned(),
        grantor_verified,
        names_country: granted.cross_border,
        risk_notice: granted.risk_notice.is_some(),
        erase_at: granted.erase_at,
        source: granted.source.word().to_owned(),
    }
}

/// When the patient comes of age by the law of our country; `None`: no birth date is stated.
pub(super) fn patient_of_age(request: &Request, policy: &Policy) -> Option<Timestamp> {
    let years = policy.of_age(&request.origin_country);
    request.birth_date.map(|born| comes_of_age(born, years, &request.zone))
}

/// When the consent ends: by itself, or with the minority of the patient for whom somebody else gave it.
pub(super) fn ends(granted: &Granted, of_age: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let for_another = matches!(granted.grantor, Grantor::Parent { .. } | Grantor::Guardian { .. });
    let minority = of_age.filter(|of_age| for_another && now < *of_age);
    minority.map_or(granted.until, |of_age| of_age.min(granted.until))
}

/// The first instant of the birthday. Whoever was born on 29 February waits for 1 March.
fn comes_of_age(born: Date, years: u8, zone: &TimeZone) -> Timestamp {
    let birthday = born.checked_add(i64::from(years).years()).unwrap_or(Date::MAX);
    let day = if birthday.day() == born.day() { birthday } else { birthday.tomorrow().unwrap_or(birthday) };
    // Where a changed clock makes midnight uncertain, childhood ends at the later reading.
    zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0)).later().unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_comes_of_age_at_the_first_instant_of_the_birthday() {
        let zone = TimeZone::get("Asia/Kolkata").expect("a zone");
        for (born, years, at) in [
            ("2008-11-22", 18, "2026-11-21T18:30:00Z"),
            ("2008-11-22", 21, "2029-11-21T18:30:00Z"),
            ("2008-02-29", 18, "2026-02-28T18:30:00Z"),
            ("2008-02-29", 20, "2028-02-28T18:30:00Z"),
        ] {
            let born = born.parse().expect("a day");
            assert_eq!(comes_of_age(born, years, &zone), at.parse::<Timestamp>().expect("a time"), "{born}");
        }
        assert!(comes_of_age(Date::MAX, 18, &zone) > "9999-12-01T00:00:00Z".parse::<Timestamp>().expect("a time"));
    }
}
