//! Does docs/REASONS.md list every reason code, with the meaning and the remedy that the program shows?
//!
//! With `MEDSEAL_UPDATE=1` the page is written anew.

use std::fmt::Write as _;
use std::path::Path;

use medseal::reason::Reason;

#[test]
fn the_page_lists_every_code_as_the_program_shows_it() {
    let mut page = "# Reason codes\n\nA code, once published, keeps its meaning. It stands in JSON answers, in the log and behind the error text.\n\n\
         | code | means | what to do |\n|---|---|---|\n"
        .to_owned();
    for reason in Reason::ALL {
        let remedy = reason.remedy().replace('|', "\\|");
        writeln!(page, "| `{}` | {} | {remedy} |", reason.code(), reason.meaning()).expect("a string takes everything");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/REASONS.md");
    if std::env::var_os("MEDSEAL_UPDATE").is_some_and(|value| value == "1") {
        medseal::durable::replace(&path, page.as_bytes(), 0o644).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/REASONS.md");
    assert!(found == page, "docs/REASONS.md is not what the program says; MEDSEAL_UPDATE=1 writes it anew");
}

#[test]
fn every_relative_link_in_the_documents_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for folder in ["", "docs", "keys", "policies", "deploy"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = link.split('#').next().unwrap_or_default();
                let relative = !file.is_empty() && !file.contains("://");
                if relative && !path.parent().expect("a folder").join(file).exists() {
                    wrong.push(format!("{}: {link}", path.strip_prefix(root).expect("below").display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
