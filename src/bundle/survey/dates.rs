//! Dates as HL7 v2, C-CDA, DICOM and FHIR write them.
//!
//! Rule: a date that is not one is no date; the time of day and its zone are dropped, never converted.

use jiff::civil::{Date, date};

/// The first and the last day that a text such as `2024`, `202403`, `2024-03-05T10:00Z` or `20240305101500` covers.
pub(super) fn days(text: &str) -> Option<(Date, Date)> {
    let digits = partial(text)?;
    let mut parts = digits.split('-');
    let year: i16 = parts.next()?.parse().ok()?;
    let Some(month) = parts.next() else {
        return Some((date(year, 1, 1), date(year, 12, 31)));
    };
    let first = Date::new(year, month.parse().ok()?, 1).ok()?;
    let Some(day) = parts.next() else {
        return Some((first, first.last_of_month()));
    };
    let day = Date::new(year, first.month(), day.parse().ok()?).ok()?;
    Some((day, day))
}

/// The same text as `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; `None` when it is not a date of the calendar.
pub(super) fn partial(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<&str> {
        let part = text.get(from..to)?;
        part.bytes().all(|b| b.is_ascii_digit()).then_some(part)
    };
    let year = number(0, 4)?;
    if year < "1000" {
        return None;
    }
    let (month, day) = match bytes.get(4) {
        None => (None, None),
        // ISO 8601 extended; DICOM's older form with full stops is read alike.
        Some(b'-' | b'.') => match bytes.get(7) {
            None => (Some(number(5, 7)?), None),
            Some(b'-' | b'.') => (Some(number(5, 7)?), Some(number(8, 10)?)),
            Some(_) => return None,
        },
        Some(b'0'..=b'9') => (Some(number(4, 6)?), number(6, 8)),
        Some(_) => return None,
    };
    let Some(month) = month else { return Some(year.to_owned()) };
    let Some(day) = day else {
        return Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(|_| format!("{year}-{month}"));
    };
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok().map(|day| day.to_string())
}

/// Widens a range so that it covers another.
pub(super) fn widen(range: &mut Option<(Date, Date)>, other: Option<(Date, Date)>) {
    if let Some((from, to)) = other {
        *range = Some(range.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_day_is_the_same_day() {
        for text in [
            "20240305",
            "2024-03-05",
            "2024.03.05",
            "20240305101500.00+0100",
            "2024-03-05T10:15:00+01:00",
            " 20240305 ",
        ] {
            assert_eq!(partial(text).as_deref(), Some("2024-03-05"), "{text}");
            assert_eq!(days(text), Some((date(2024, 3, 5), date(2024, 3, 5))), "{text}");
        }
    }

    #[test]
    fn a_date_without_its_day_covers_the_month() {
        assert_eq!(days("202402"), Some((date(2024, 2, 1), date(2024, 2, 29))));
        assert_eq!(days("2024"), Some((date(2024, 1, 1), date(2024, 12, 31))));
        assert_eq!(partial("2024-02").as_deref(), Some("2024-02"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "20241301", "2023-02-29", "abcd", "0000", "00000101", "２０２４", "2024/03/05", "20"] {
            assert_eq!(days(text), None, "{text}");
            assert_eq!(partial(text), None, "{text}");
        }
    }
}
