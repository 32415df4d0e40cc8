//! docs/PARTNERS.md as a script: its code blocks with the placeholders replaced, run as whoever reads the page would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The page's words and what stands for each.
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn of(institute: &str, host: &str, port: u16, hospital: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/PARTNERS.md");
        let text = std::fs::read_to_string(path).expect("docs/PARTNERS.md");
        let text = text.replace("INSTITUTE", institute).replace("FILES.EXAMPLE.ORG", host);
        Self { text: text.replace("8443", &port.to_string()).replace("HOSPITAL", hospital) }
    }

    /// The blocks of one kind (`sh`, `nginx`) under a heading.
    pub(crate) fn blocks(&self, heading: &str, kind: &str) -> Vec<String> {
        let (_, section) = self.text.split_once(&format!("\n## {heading}\n")).expect("the page has this heading");
        let section = section.split("\n## ").next().unwrap_or(section);
        let opens = format!("```{kind}\n");
        let blocks = section.split(&opens).skip(1);
        let blocks: Vec<String> =
            blocks.map(|rest| rest.split("```").next().expect("the block ends").to_owned()).collect();
        assert!(!blocks.is_empty(), "{heading} has no {kind} block");
        blocks
    }

    /// Runs the shell blocks under a heading in a folder, one line after the other; the first that fails ends it.
    pub(crate) fn run(&self, headings: &[&str], folder: &Path) -> Output {
        let blocks: Vec<String> = headings.iter().flat_map(|heading| self.blocks(heading, "sh")).collect();
        sh(&blocks.join("\n"), folder)
    }
}

pub(crate) fn sh(script: &str, folder: &Path) -> Output {
    let script = format!("set -e\n{script}");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(folder).stdin(Stdio::null());
    shell.output().expect("sh runs")
}
