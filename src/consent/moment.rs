//! FHIR dates as intervals: `2026-11` is a month, `2026-11-22` a day in some zone, and only a full time is an instant.
//!
//! Rule: where a zone makes an end uncertain (a clock set back), the earliest reading holds; a start, the latest.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A FHIR `dateTime` as precise as it was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    /// Whole days, the first and the last of them.
    Days(Date, Date),
    /// An instant, written with its offset.
    At(Timestamp),
}

impl Moment {
    /// Reads `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or a full time with seconds and offset (FHIR R4 `dateTime`).
    pub(super) fn read(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.contains(char::is_whitespace) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i16>().ok())?
        };
        let dash = |at: usize| text.as_bytes().get(at) == Some(&b'-');
        let year = number(0..4)?;
        if text.len() == 4 {
            return Some(Self::Days(Date::new(year, 1, 1).ok()?, Date::new(year, 12, 31).ok()?));
        }
        let month = i8::try_from(number(5..7)?).ok().filter(|_| dash(4))?;
        let first = Date::new(year, month, 1).ok()?;
        if text.len() == 7 {
            return Some(Self::Days(first, first.last_of_month()));
        }
        let day = Date::new(year, month, i8::try_from(number(8..10)?).ok().filter(|_| dash(7))?).ok()?;
        if text.len() == 10 {
            return Some(Self::Days(day, day));
        }
        // FHIR requires seconds and an offset as soon as there is a time; jiff alone would take less.
        let (clock, rest) = (text.get(10..19)?.as_bytes(), text.get(19..)?);
        let shaped = clock.iter().zip(b"T00:00:00").all(|(found, shape)| match shape {
            b'0' => found.is_ascii_digit(),
            _ => found == shape,
        });
        let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let offset = zone == "Z" || (zone.len() == 6 && zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':');
        (shaped && offset).then(|| text.parse().ok().map(Self::At))?
    }

    /// The first instant of it, read as a start.
    pub(super) fn start(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Days(first, _) => midnight(first, zone, true),
        }
    }

    /// The first instant after it, read as an end: the end of the last day.
    pub(super) fn end(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Days(_, last) => last.tomorrow().map_or(Timestamp::MAX, |next| midnight(next, zone, false)),
        }
    }
}

/// Midnight of `day`; a zone that skips or repeats it gives two readings.
pub(super) fn midnight(day: Date, zone: &TimeZone, latest: bool) -> Timestamp {
    let ambiguous = zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    let read = if latest { ambiguous.later() } else { ambiguous.earlier() };
    read.unwrap_or(if latest { Timestamp::MAX } else { Timestamp::MIN })
}

/// A FHIR `Period`: both ends included, either may be open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Period {
    pub(super) start: Option<Moment>,
    pub(super) end: Option<Moment>,
}

impl Period {
    /// Whether it ends before it begins, in every zone of the earth.
    pub(super) fn is_inverted(self) -> bool {
        let (Some(start), Some(end)) = (self.start, self.end) else { return false };
        let alike = matches!(start, Moment::At(_)) == matches!(end, Moment::At(_));
        let slack = if alike { 0.hours() } else { 26.hours() };
        let end = end.end(&TimeZone::UTC);
        start.start(&TimeZone::UTC) >= end.checked_add(slack).unwrap_or(Timestamp::MAX)
    }

    /// The first instant of it.
    pub(super) fn from(self, zone: &TimeZone) -> Timestamp {
        self.start.map_or(Timestamp::MIN, |start| start.start(zone))
    }

    /// The first instant after it, if it ends.
    pub(super) fn until(self, zone: &TimeZone) -> Option<Timestamp> {
        self.end.map(|end| end.end(zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone of the tz database")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_day_ends_when_it_ends_in_its_zone() {
        let day = Moment::read("2026-11-22").expect("a date");
        assert_eq!(day.end(&zone("Asia/Kolkata")), at("2026-11-22T18:30:00Z"));
        assert_eq!(day.start(&zone("Asia/Kolkata")), at("2026-11-21T18:30:00Z"));
        assert_eq!(day.end(&TimeZone::UTC), at("2026-11-23T00:00:00Z"));
    }

    #[test]
    fn a_midnight_that_comes_twice_ends_early_and_begins_late() {
        // Havana sets its clock back from 01:00 to 00:00, so 2026-11-01 has two midnights.
        let (end, start) = (Moment::read("2026-10-31").unwrap(), Moment::read("2026-11-01").unwrap());
        let havana = zone("America/Havana");
        assert_eq!(end.end(&havana), at("2026-11-01T04:00:00Z"));
        assert_eq!(start.start(&havana), at("2026-11-01T05:00:00Z"));
    }

    #[test]
    fn a_month_and_a_year_are_intervals() {
        assert_eq!(Moment::read("2024-02").unwrap().end(&TimeZone::UTC), at("2024-03-01T00:00:00Z"));
        assert_eq!(Moment::read("2024").unwrap().start(&TimeZone::UTC), at("2024-01-01T00:00:00Z"));
        assert_eq!(Moment::read("9999").unwrap().end(&TimeZone::UTC), Timestamp::MAX);
    }

    #[test]
    fn only_what_fhir_allows_is_a_date() {
        for good in ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123+05:30", "2026"] {
            assert!(Moment::read(good).is_some(), "{good}");
        }
        for bad in [
            "soon",
            "",
            "26",
            "2026-1",
            "2026-13",
            "2026-02-30",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00Z",
            "2026-11-22 10:00:00Z",
            "2026-11-22T10:00:00+0530",
            "2026-11-22T10:00:00Z[UTC]",
            "2026/11/22",
            "+2026",
            "2026-11-22T25:00:00Z",
            "2026\u{661}",
        ] {
            assert!(Moment::read(bad).is_none(), "{bad:?} was read");
        }
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_seen() {
        let period = |start, end| Period { start: Moment::read(start), end: Moment::read(end) };
        assert!(period("2026-02-01", "2026-01-01").is_inverted());
        assert!(period("2026-02-02T00:00:00Z", "2026-01-01").is_inverted());
        assert!(!period("2026-01-01", "2026-01-01").is_inverted());
        assert!(period("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z").is_inverted());
    }
}
