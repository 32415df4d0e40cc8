//! The clocks that run once an incident is known: whom to tell, until when, since when, and where that is written.
//!
//! Rule: a help to memory, not a judgement: every clock is listed, with the countries that make it likely; whether it
//! applies is for people to decide. Each names its source.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, stamp};

/// One duty to tell somebody.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NoticeClock {
    /// Where it is written.
    pub source: String,
    /// Who is to be told.
    pub whom: String,
    /// How soon, in words.
    pub within: String,
    /// Since when it runs, in words.
    pub runs_since: String,
    /// The last moment, counted from the time of knowledge; `None`: there is no fixed one.
    pub due: Option<String>,
    /// Whether the rule was in force at the time of knowledge; before, it sets no moment.
    pub in_force: bool,
    /// Whether that moment has passed.
    pub passed: bool,
    /// When it applies, and what may lift it.
    pub applies: String,
    /// The countries among ours and the recipients' in which it is law.
    pub countries: Vec<String>,
}

/// Every clock, the shortest first.
pub(super) fn all(known: Timestamp, now: Timestamp, countries: &BTreeSet<String>, subjects: usize) -> Vec<NoticeClock> {
    let applies = |duty: &&Duty| match duty.last {
        Last::EndOfYearAndDays(_) => subjects < MANY,
        Last::WithIndividuals(_) => subjects >= MANY,
        Last::None | Last::Hours(_) => true,
    };
    let clock = |duty: &Duty| {
        let in_force = duty.from.is_none_or(|from| from.parse().is_ok_and(|from: Timestamp| from <= known));
        let due = duty.last.after(known).filter(|_| in_force);
        NoticeClock {
            in_force,
            source: duty.source.to_owned(),
            whom: duty.whom.to_owned(),
            within: duty.within.to_owned(),
            runs_since: duty.runs_since.to_owned(),
            passed: due.is_some_and(|due| due < now),
            due: due.map(stamp),
            applies: duty.applies.to_owned(),
            countries: countries.iter().filter(|country| duty.law.contains(&country.as_str())).cloned().collect(),
        }
    };
    DUTIES.iter().filter(applies).map(clock).collect()
}

/// A duty to tell somebody, as its source has it.
struct Duty {
    /// The countries whose law it is.
    law: &'static [&'static str],
    /// Since when, where that is not long ago.
    from: Option<&'static str>,
    last: Last,
    source: &'static str,
    whom: &'static str,
    within: &'static str,
    runs_since: &'static str,
    applies: &'static str,
}

/// The last moment.
enum Last {
    /// None is fixed.
    None,
    /// So many hours after the time of knowledge.
    Hours(i64),
    /// The same, where many are affected.
    WithIndividuals(i64),
    /// So many days after the end of that year, where few are affected.
    EndOfYearAndDays(i64),
}

impl Last {
    fn after(&self, known: Timestamp) -> Option<Timestamp> {
        let hours = |at: Timestamp, hours: i64| at.checked_add(jiff::SignedDuration::from_hours(hours)).ok();
        match self {
            Self::None => None,
            Self::Hours(after) | Self::WithIndividuals(after) => hours(known, *after),
            Self::EndOfYearAndDays(days) => hours(end_of_year(known)?, days * 24),
        }
    }
}

const DUTIES: [Duty; 9] = [
    Duty {
        law: &["IN"],
        from: None,
        last: Last::Hours(6),
        source: "CERT-In directions of 28 April 2022, under section 70B(6) of the Information Technology Act 2000 (India)",
        whom: "CERT-In",
        within: "6 hours",
        runs_since: "noticing the incident, or being told of it",
        applies: "if it is a cyber security incident of a kind that the directions list",
    },
    Duty {
        law: EEA,
        from: None,
        last: Last::Hours(72),
        source: "GDPR, Article 33(1)",
        whom: "the supervisory authority",
        within: "without undue delay, 72 hours where feasible; later only with reasons",
        runs_since: "the controller became aware (a processor tells its controller without undue delay, 33(2))",
        applies: "unless a risk to people is unlikely; document it either way (33(5)). United Kingdom: UK GDPR, Article 33",
    },
    Duty {
        law: EEA,
        from: None,
        last: Last::None,
        source: "GDPR, Article 34(1)",
        whom: "the patients",
        within: "without undue delay",
        runs_since: "the controller became aware",
        applies: "if a high risk is likely, and what was lost was not unintelligible, such as sealed without its key (34(3)(a))",
    },
    Duty {
        law: &["IN"],
        from: Some(RULES_2025),
        last: Last::Hours(72),
        source: "Digital Personal Data Protection Rules 2025, rule 7(2), under section 8(6) of the Act of 2023 (India)",
        whom: "the Data Protection Board",
        within: "a description without delay, the details within 72 hours or as the Board allows",
        runs_since: "becoming aware of the breach",
        applies: DPDP,
    },
    Duty {
        law: &["IN"],
        from: Some(RULES_2025),
        last: Last::None,
        source: "Digital Personal Data Protection Rules 2025, rule 7(1), under section 8(6) of the Act of 2023 (India)",
        whom: "the patients",
        within: "without delay",
        runs_since: "becoming aware of the breach",
        applies: DPDP,
    },
    Duty {
        law: &["US"],
        from: None,
        last: Last::Hours(SIXTY_DAYS),
        source: "HIPAA, 45 CFR 164.404",
        whom: "the patients",
        within: "without unreasonable delay, 60 calendar days at the latest",
        runs_since: DISCOVERY,
        applies: "if it was unsecured health information, not sealed with its key safe (164.402)",
    },
    Duty {
        law: &["US"],
        from: None,
        last: Last::Hours(SIXTY_DAYS),
        source: "HIPAA, 45 CFR 164.406",
        whom: "prominent media of the state",
        within: "without unreasonable delay, 60 calendar days at the latest",
        runs_since: DISCOVERY,
        applies: "if more than 500 residents of one state or jurisdiction are affected",
    },
    Duty {
        law: &["US"],
        from: None,
        last: Last::WithIndividuals(SIXTY_DAYS),
        source: "HIPAA, 45 CFR 164.408(b)",
        whom: "the Secretary of Health and Human Services",
        within: "together with the notice to the individuals, 60 days at the latest",
        runs_since: DISCOVERY,
        applies: "if 500 or more individuals are affected",
    },
    Duty {
        law: &["US"],
        from: None,
        last: Last::EndOfYearAndDays(60),
        source: "HIPAA, 45 CFR 164.408(c)",
        whom: "the Secretary of Health and Human Services",
        within: "60 days after the end of the calendar year",
        runs_since: "the end of the year in which it was discovered",
        applies: "if fewer than 500 individuals are affected; from 500 on 164.408(b): together with the notice to them",
    },
];

/// The first moment of the next year, in UTC.
fn end_of_year(known: Timestamp) -> Option<Timestamp> {
    let year = known.to_zoned(jiff::tz::TimeZone::UTC).year();
    let next = jiff::civil::Date::new(year.checked_add(1)?, 1, 1).ok()?;
    Some(next.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// When an incident counts as discovered (45 CFR 164.404(a)(2)).
const DISCOVERY: &str = "the first day on which it is known, or would have been by reasonable diligence";

/// When rule 7 came into force: eighteen months after the Rules were published.
const RULES_2025: &str = "2027-05-13T18:30:00Z";

/// When rule 7 applies.
const DPDP: &str = "if it is a personal data breach, whatever its risk; in force from 14 May 2027";

/// In hours.
const SIXTY_DAYS: i64 = 60 * 24;

/// As many, and the Secretary is told at once.
const MANY: usize = 500;

/// The European Economic Area, and the United Kingdom with the same articles of its own.
const EEA: &[&str] = &[
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GR", "HR", "HU", "IE", "IS", "IT", "LI",
    "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn due<'a>(clocks: &'a [NoticeClock], source: &str) -> &'a NoticeClock {
        clocks.iter().find(|clock| clock.source.contains(source)).expect("a clock")
    }

    #[test]
    fn each_clock_runs_from_the_time_of_knowledge_to_the_moment_that_its_source_names() {
        let countries = ["EE", "IN"].map(str::to_owned).into();
        let known = at("2026-11-20T08:00:00Z");
        let few = all(known, at("2026-11-23T07:00:00Z"), &countries, 12);
        for (source, last) in [
            ("CERT-In", "2026-11-20T14:00:00.000000Z"),
            ("Article 33(1)", "2026-11-23T08:00:00.000000Z"),
            ("164.404", "2027-01-19T08:00:00.000000Z"),
            ("164.406", "2027-01-19T08:00:00.000000Z"),
            ("164.408(c)", "2027-03-02T00:00:00.000000Z"),
        ] {
            assert_eq!(due(&few, source).due.as_deref(), Some(last), "{source}");
        }
        assert!(due(&few, "CERT-In").passed && !due(&few, "Article 33(1)").passed);
        assert_eq!((due(&few, "Article 34(1)").due.as_deref(), due(&few, "rule 7(1)").due.as_deref()), (None, None));
        assert_eq!((&due(&few, "33(1)").countries, &due(&few, "164.404").countries), (&vec!["EE".to_owned()], &vec![]));
        assert!(!due(&few, "rule 7(2)").in_force && due(&few, "rule 7(2)").due.is_none(), "not in force yet");
        let later = all(at("2027-06-01T08:00:00Z"), at("2027-06-01T09:00:00Z"), &countries, 12);
        assert_eq!(due(&later, "rule 7(2)").due.as_deref(), Some("2027-06-04T08:00:00.000000Z"));
        let many = all(known, known, &countries, MANY);
        assert_eq!(due(&many, "164.408(b)").due, due(&many, "164.404").due);
    }
}
