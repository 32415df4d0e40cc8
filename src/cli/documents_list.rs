//! The `--documents` list: class, confidentiality, sensitivity and date of what cannot be read from the files.
//!
//! Rule: every line fits exactly one document; a list that names a file that is not there is refused as a whole, since
//! a label on the wrong file is worse than none.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Deserialize;

use super::failure::Failure;
use crate::bundle::claim::Given;
use crate::bundle::document::{ConfidentialityCode, DateRange};
use crate::bundle::path::BundlePath;
use crate::reason::Reason;

/// One line of the list as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    confidentiality: Option<String>,
    #[serde(default)]
    sensitivity: Option<Vec<String>>,
    #[serde(default)]
    date: Option<String>,
}

/// Reads the list at `path`: JSON, or CSV with a line of column names.
pub(super) fn read(path: &Path) -> Result<BTreeMap<BundlePath, Given>, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| name.clone()).map_err(Failure::from)?;
    parse(&text).map_err(|why| refused(format!("{name}: {why}")))
}

/// Fails when the list names a document that is not among `documents`.
pub(super) fn check<'a>(
    list: &BTreeMap<BundlePath, Given>,
    documents: impl Iterator<Item = &'a BundlePath>,
) -> Result<(), Failure> {
    let mut missing: Vec<&BundlePath> = list.keys().collect();
    for document in documents {
        missing.retain(|path| *path != document);
    }
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(refused(format!("the list names {:?}, which is not among the documents", first.as_str()))),
    }
}

fn refused(text: String) -> Failure {
    Failure::bad_input(Reason::DocumentsList, text)
}

fn parse(text: &str) -> Result<BTreeMap<BundlePath, Given>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = if text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<Line>>(text).map_err(|error| error.to_string())?
    } else {
        csv(text)?
    };
    let mut list = BTreeMap::new();
    for (at, line) in lines.into_iter().enumerate() {
        let place = |why: String| format!("entry {}: {why}", at + 1);
        let path = line.path.strip_prefix("./").unwrap_or(&line.path);
        let path: BundlePath = path.parse().map_err(|error| place(format!("{path:?}: {error}")))?;
        let described = describe(line).map_err(place)?;
        if list.insert(path.clone(), described).is_some() {
            return Err(place(format!("{:?} is named twice", path.as_str())));
        }
    }
    Ok(list)
}

fn describe(line: Line) -> Result<Given, String> {
    let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let class = given(line.class);
    if let Some(class) = class.as_ref().filter(|class| !is_loinc(class)) {
        return Err(format!("the class {class:?} is no LOINC code, such as 18842-5"));
    }
    let sensitivity = line.sensitivity;
    if let Some(bad) = sensitivity.iter().flatten().find(|code| !is_act_code(code)) {
        return Err(format!("the sensitivity {bad:?} is no code of v3-ActCode, such as HIV or PSY"));
    }
    Ok(Given {
        class,
        confidentiality: given(line.confidentiality)
            .map(|code| code.parse::<ConfidentialityCode>().map_err(|error| error.to_string()))
            .transpose()?,
        sensitivity,
        date: given(line.date).map(|date| days(&date)).transpose()?,
    })
}

fn is_loinc(class: &str) -> bool {
    class.split_once('-').is_some_and(|(number, check)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits(number) && number.len() <= 7 && digits(check) && check.len() == 1
    })
}

fn is_act_code(code: &str) -> bool {
    (1..=32).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A day, a month, a year, or the first and the last of them with a slash between.
fn days(text: &str) -> Result<DateRange, String> {
    let (first, last) = text.split_once('/').unwrap_or((text, text));
    let range = span(first).zip(span(last)).and_then(|((first, _), (_, last))| DateRange::new(first, last).ok());
    range.ok_or_else(|| {
        format!("the date {text:?} is not written as 2026-03-01, 2026-03, 2026 or 2026-03-01/2026-03-31")
    })
}

fn span(text: &str) -> Option<(Date, Date)> {
    let text = text.trim();
    match text.len() {
        10 => text.parse().ok().map(|day: Date| (day, day)),
        7 => format!("{text}-01").parse().ok().map(|first: Date| (first, first.last_of_month())),
        4 => {
            let first: Date = format!("{text}-01-01").parse().ok()?;
            Some((first, first.checked_add(1.year()).ok()?.yesterday().ok()?))
        }
        _ => None,
    }
}

/// RFC 4180, with a comma or (as spreadsheets of many countries write it) a semicolon between the fields.
fn csv(text: &str) -> Result<Vec<Line>, String> {
    let head = text.lines().next().unwrap_or_default();
    let separator = if head.contains(';') { ';' } else { ',' };
    let mut rows = rows(text, separator)?.into_iter();
    let columns = rows.next().ok_or("the list is empty")?;
    let columns: Vec<String> = columns.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if !columns.iter().any(|name| name == "path") {
        return Err("the first line names the columns; path is missing".to_owned());
    }
    rows.enumerate()
        .map(|(at, row)| {
            if row.len() != columns.len() {
                return Err(format!(
                    "entry {}: {} fields where the first line has {}",
                    at + 1,
                    row.len(),
                    columns.len()
                ));
            }
            let mut line = Line::default();
            for (column, field) in columns.iter().zip(row) {
                match column.as_str() {
                    "path" => line.path = field,
                    "class" => line.class = Some(field),
                    "confidentiality" => line.confidentiality = Some(field),
                    "sensitivity" => {
                        let codes = field.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|'));
                        let codes: Vec<_> = codes.filter(|code| !code.is_empty()).map(str::to_owned).collect();
                        line.sensitivity = (!codes.is_empty()).then_some(codes);
                    }
                    "date" => line.date = Some(field),
                    other => {
                        return Err(format!(
                            "the column {other:?} is none of path, class, confidentiality, sensitivity and date"
                        ));
                    }
                }
            }
            Ok(line)
        })
        .collect()
}

fn rows(text: &str, separator: char) -> Result<Vec<Vec<String>>, String> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut begun) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => (quoted, begun) = (true, true),
            c if quoted => field.push(c),
            c if c == separator => {
                row.push(std::mem::take(&mut field));
                begun = true;
            }
            '\r' => {}
            '\n' => {
                if begun || !field.is_empty() {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                begun = false;
            }
            c => field.push(c),
        }
    }
    if quoted {
        return Err("a quotation mark is never closed".to_owned());
    }
    if begun || !field.is_empty() {
        row.push(field);
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(list: &str) -> Given {
        let list = parse(list).expect("a list");
        assert_eq!(list.keys().map(BundlePath::as_str).collect::<Vec<_>>(), ["a b/letter.pdf"]);
        list.into_values().next().expect("one")
    }

    #[test]
    fn json_and_csv_say_the_same() {
        let json = one(
            r#"[{"path": "a b/letter.pdf", "class": "18842-5", "confidentiality": "R", "sensitivity": ["HIV", "PSY"], "date": "2026-03"}]"#,
        );
        assert_eq!(json.date.expect("a date").last().to_string(), "2026-03-31");
        assert_eq!(
            json,
            one("path,class,confidentiality,sensitivity,date\r\n\"a b/letter.pdf\",18842-5,R,HIV PSY,2026-03\r\n")
        );
        assert_eq!(
            json,
            one("\u{feff}Path;Date;Class;Sensitivity;Confidentiality\na b/letter.pdf;2026-03;18842-5;HIV,PSY;R\n\n")
        );
        assert_eq!(one("path\na b/letter.pdf\n"), Given::default());
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused_with_the_place() {
        for (list, named) in [
            (r#"[{"path": "a", "klass": "1-8"}]"#, "klass"),
            (r#"[{"path": "../a"}]"#, "entry 1"),
            (r#"[{"path": "a"}, {"path": "./a"}]"#, "twice"),
            (r#"[{"path": "a", "class": "letter"}]"#, "LOINC"),
            (r#"[{"path": "a", "confidentiality": "X"}]"#, "X"),
            (r#"[{"path": "a", "date": "01.03.2026"}]"#, "01.03.2026"),
            (r#"[{"path": "a", "date": "2026-03-02/2026-03-01"}]"#, "2026-03-02"),
            ("path,note\na,b\n", "note"),
            ("path,class\na\n", "1 fields"),
            ("class\n18842-5\n", "path is missing"),
            ("path\n\"a\n", "never closed"),
        ] {
            let error = parse(list).expect_err(list);
            assert!(error.contains(named), "{list}: {error}");
        }
    }

    #[test]
    fn every_named_path_must_exist() {
        let list = parse("path\na\nb\n").expect("a list");
        let document: BundlePath = "a".parse().expect("a path");
        let failure = check(&list, std::iter::once(&document)).expect_err("b is missing");
        assert!(failure.text().contains("\"b\""), "{}", failure.text());
    }
}
