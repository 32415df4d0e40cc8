//! `medseal demo`: one second opinion between two institutions, with real daemons, real keys and a real log.
//!
//! Rule: the demo does only what a user can do: every step is a command of this program, run on a gateway that runs.

mod compare;
mod damage;
mod site;
mod stock_tools;
mod story;
mod timeline;
mod whose;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Failure, Outcome, Status};
use crate::id::random_bytes;
use site::Site;
use timeline::Timeline;

/// Shows a second opinion from the question to the answer, between two gateways on this machine.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal demo --input /export/records --keep /tmp/medseal-demo\n\
    Two institutions are made on the loopback address, with keys and stores of their own. Without --input a synthetic\n\
    case is sent that comes with medseal. Nothing outside the demo's folder is touched.")]
pub(super) struct Demo {
    /// Send this folder or file instead of the built-in case. Documents that name other patients are listed, and
    /// confirmed with a reason that the log keeps.
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Keep both gateways' homes and everything opened in this new folder; without it all is removed at the end.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Leave both gateways running at the end, until the demo is interrupted.
    #[arg(long)]
    serve: bool,
}

impl Demo {
    pub(super) fn run(self, context: &Context) -> Outcome {
        if let Some(input) = self.input.as_deref().filter(|input| !input.exists()) {
            return Err(Failure::unable(format!("{} does not exist", input.display())));
        }
        let stage = Stage::make(self.keep.as_deref())?;
        let mut timeline = Timeline::begin(context.out);
        let (hospital, institute) = story::tell(&mut timeline, stage.path(), self.input.as_deref())?;
        timeline.end(self.keep.as_deref())?;
        if self.serve {
            wait_for_both(context, hospital, institute)?;
        }
        if context.out.is_json() {
            context.out.object(&json!({ "ok": true, "steps": timeline.steps() }))?;
        }
        Ok(Status::Done)
    }
}

/// The folder in which the demo happens; removed at the end unless the caller keeps it.
struct Stage {
    path: PathBuf,
    keep: bool,
}

impl Stage {
    fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        let path = keep.map_or_else(
            || std::env::temp_dir().join(format!("medseal-demo-{:016x}", u64::from_be_bytes(random_bytes()))),
            Path::to_owned,
        );
        let made = std::path::absolute(&path).and_then(|path| {
            crate::durable::create_dir(&path, 0o700)?;
            Ok(path)
        });
        let path = made.map_err(|error| {
            Failure::unable(format!("{}: {error}", path.display()))
                .hint("--keep names a folder that does not exist yet")
        })?;
        Ok(Self { path, keep: keep.is_some() })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "the demo's folder could not be removed");
        }
    }
}

fn wait_for_both(context: &Context, mut hospital: Site, mut institute: Site) -> Result<(), Failure> {
    context.out.say("Both gateways run until you interrupt. From another terminal:");
    for site in [&hospital, &institute] {
        context.out.say(format!("  medseal --home {} status", site.home().display()));
    }
    hospital.wait()?;
    institute.wait()
}
