//! What the demo tells: numbered steps with the time at which each began, and what was seen.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output::Output;

/// The demo as it is told.
pub(super) struct Timeline {
    out: Output,
    begun: Instant,
    steps: Vec<Value>,
}

impl Timeline {
    /// Begins with a title.
    pub(super) fn begin(out: Output) -> Self {
        Self { out, begun: Instant::now(), steps: Vec::new() }
    }

    /// Words before the first step.
    pub(super) fn title(&self, lines: &[String]) -> Result<(), Failure> {
        lines.iter().try_for_each(|line| self.tell(line))
    }

    /// A new step.
    pub(super) fn step(&mut self, title: &str) -> Result<(), Failure> {
        let number = self.steps.len() + 1;
        self.steps.push(json!({ "step": number, "title": title, "seen": [] }));
        let seconds = self.begun.elapsed().as_secs_f32();
        self.tell(&format!("\n{number:>2}  {title:<66}{seconds:>6.1} s"))
    }

    /// Something that was done, and how it was seen.
    pub(super) fn seen(&mut self, what: &str) -> Result<(), Failure> {
        self.note(what);
        self.wrapped("    ok  ", what)
    }

    /// Something that had to be refused, and was.
    pub(super) fn refused(&mut self, code: &str, sentence: &str) -> Result<(), Failure> {
        self.note(&format!("{code}: {sentence}"));
        self.wrapped("    no  ", &format!("{code}: {sentence}"))
    }

    /// A line under what was seen.
    pub(super) fn more(&mut self, what: &str) -> Result<(), Failure> {
        self.note(what);
        self.wrapped("        ", what)
    }

    /// The last words.
    pub(super) fn end(&self, kept: Option<&Path>) -> Result<(), Failure> {
        let seconds = self.begun.elapsed().as_secs_f32();
        self.tell(&format!(
            "\nDone in {seconds:.1} s. Every step was a command of this program on two running gateways."
        ))?;
        match kept {
            Some(folder) => self.tell(&format!("Everything is kept in {}.", folder.display())),
            None => {
                self.tell("Run it with --keep DIR to look at the homes, the opened documents and the exported log.")
            }
        }
    }

    /// Every step as JSON.
    pub(super) fn steps(&self) -> &[Value] {
        &self.steps
    }

    fn note(&mut self, what: &str) {
        if let Some(seen) = self.steps.last_mut().and_then(|step| step["seen"].as_array_mut()) {
            seen.push(json!(what));
        }
    }

    /// A text after `head`, broken at spaces, so that a terminal need not break it in the middle of a word.
    fn wrapped(&self, head: &str, text: &str) -> Result<(), Failure> {
        let mut line = head.to_owned();
        let mut is_empty = true;
        for word in text.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.tell(&line)?;
                line = " ".repeat(head.len());
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.tell(&line)
    }

    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.out.is_json() { Ok(()) } else { self.out.line(line) }
    }
}

/// How wide a line is, in characters.
const WIDTH: usize = 100;
