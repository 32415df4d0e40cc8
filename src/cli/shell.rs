//! `medseal completions` and `medseal man`: what a shell and a reader of manuals want.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::failure::{Outcome, Status};
use super::{Arguments, Context};

/// Prints completions for a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal completions bash > /usr/share/bash-completion/completions/medseal")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints the manual page, or writes one page per verb into a folder.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal man --out /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder that takes the pages.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "medseal", &mut text);
        context.out.bytes(&text)?;
        Ok(Status::Done)
    }
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Outcome {
        if let Some(folder) = self.out {
            clap_mangen::generate_to(Arguments::command(), &folder).with_context(|| folder.display().to_string())?;
            context.out.say(format!("the pages are in {}", folder.display()));
            return Ok(Status::Done);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page).context("the page")?;
        context.out.bytes(&page)?;
        Ok(Status::Done)
    }
}
