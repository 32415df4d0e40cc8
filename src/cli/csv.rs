//! Tables as CSV (RFC 4180), for whoever opens them with a spreadsheet.
//!
//! Rule: no field is a formula, and none can end itself.

/// One line for each row.
pub(super) fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |row: Vec<String>| row.iter().map(|field| quote(field)).collect::<Vec<_>>().join(",") + "\r\n";
    rows.into_iter().map(line).collect()
}

/// A field that a spreadsheet would take for a formula gets an apostrophe before it.
fn quote(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_no_formula_and_cannot_end_itself() {
        assert_eq!(quote("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
        assert_eq!(quote("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(table([vec!["a".to_owned(), "b".to_owned()], vec![]]), "\"a\",\"b\"\r\n\r\n");
    }
}
