//! The terminal: data on standard output, words on standard error.
//!
//! Rule: the only file that writes to either. What came from elsewhere is cleaned of control characters first, so that
//! a name on a card cannot move the cursor; a reader who closes the pipe early is no error.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;

/// How this call prints. Every way out of the program goes through a value of this type, whether it needs it or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

#[allow(clippy::unused_self, reason = "whoever prints holds an Output")]
impl Output {
    /// Prints one JSON object when `json` is asked for, text for people otherwise.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads this.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// One line of data.
    pub(crate) fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut clean = cleaned(text.as_ref());
        clean.push('\n');
        self.bytes(clean.as_bytes())
    }

    /// Bytes of data, as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::unable(format!("standard output: {error}")),
        })
    }

    /// The one object of `--json`.
    pub(crate) fn object(self, object: &impl Serialize) -> Result<(), Failure> {
        let mut text =
            serde_json::to_vec(object).map_err(|error| Failure::unable(format!("the answer as JSON: {error}")))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Columns under their heads, each as wide as its widest cell.
    pub(crate) fn table(self, heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| cleaned(cell).replace('\n', " ")).collect()).collect();
        let widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(at, head)| {
                rows.iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| cell.chars().count())
                    .chain([head.chars().count()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
        for row in std::iter::once(&heads).chain(&rows) {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Names and values, one a line, aligned; empty values are left out.
    pub(crate) fn facts(self, facts: &[(&str, String)]) -> Result<(), Failure> {
        let facts: Vec<_> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
        let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in facts {
            let pad = " ".repeat(width + 2);
            self.line(format!("{name:<width$}  {}", value.replace('\n', &format!("\n{pad}"))))?;
        }
        Ok(())
    }

    /// Words for a person, beside the data. They are no answer, so failing to say them fails nothing.
    pub(crate) fn say(self, words: impl AsRef<str>) {
        let mut err = io::stderr().lock();
        drop(writeln!(err, "{}", cleaned(words.as_ref())));
    }

    /// The end of a verb that did not do what it was asked.
    pub(crate) fn failure(self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if self.json {
            // The words follow in any case.
            drop(self.object(&failure.object()));
        }
        for line in failure.lines() {
            self.say(line);
        }
    }

    /// Whether words go to a terminal that wants colours.
    pub(crate) fn wants_colour() -> bool {
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// A bar over `bytes` bytes: shown on a terminal only, gone when it is dropped.
    pub(crate) fn progress(self, what: &'static str, bytes: u64) -> Progress {
        if self.json || !io::stderr().is_terminal() || bytes < PROGRESS_BYTES_MIN {
            return Progress(ProgressBar::hidden());
        }
        Progress::new(what, bytes, "{msg} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    }

    /// A bar over `count` things: shown on a terminal only, gone when it is dropped.
    pub(crate) fn counting(self, what: &'static str, count: u64) -> Progress {
        if self.json || !io::stderr().is_terminal() || count < PROGRESS_COUNT_MIN {
            return Progress(ProgressBar::hidden());
        }
        Progress::new(what, count, "{msg} {bar:32} {human_pos}/{human_len} {per_sec} {eta}")
    }
}

/// A bar that goes away when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    fn new(what: &'static str, whole: u64, template: &str) -> Self {
        let bar = ProgressBar::new(whole);
        bar.set_style(ProgressStyle::with_template(template).expect("the template is one that indicatif reads"));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So much is done.
    pub(crate) fn reach(&self, done: u64) {
        self.0.set_position(done);
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Without control characters, but with line breaks and tabs.
fn cleaned(text: &str) -> String {
    let moves = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || turns(c);
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character sets the direction of the text around it, so that a name could read as another. Letters of
/// scripts that are written from the right need none of them.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Less than this needs no bar.
const PROGRESS_BYTES_MIN: u64 = 16 << 20;
const PROGRESS_COUNT_MIN: u64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_cannot_move_the_cursor() {
        assert_eq!(cleaned("a\u{1b}[2Jb\rc\td"), "a\u{fffd}[2Jb\u{fffd}c\td");
    }

    #[test]
    fn a_name_from_elsewhere_cannot_turn_the_line_around() {
        assert_eq!(cleaned("x\u{202e}fdp.a\u{2066}b"), "x\u{fffd}fdp.a\u{fffd}b");
        assert_eq!(cleaned("محمد שלום"), "محمد שלום");
    }
}
