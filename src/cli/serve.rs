//! `medseal serve`: the daemon.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::Context;
use super::failure::{Failure, Outcome, Status};
use super::init;
use super::output::Output;
use crate::daemon::{self, DaemonError};

/// Runs the gateway until it is told to end.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal --home /var/lib/medseal serve\n\
    MEDSEAL_LOG sets how much is told on standard error, such as `info` or `medseal=debug`; with --json each event is\n\
    one JSON line. No patient, no file name and no document is ever in it.")]
pub(super) struct Serve {
    /// Read and check every file that would be used, then end.
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let home = context.home()?;
        if self.check {
            daemon::check(home.path()).map_err(init::failed)?;
            if context.out.is_json() {
                context.out.object(&json!({ "ok": true }))?;
            } else {
                context.out.line(format!("{} is in order", home.path().display()))?;
            }
            return Ok(Status::Done);
        }
        tell_events(context.out.is_json());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
        runtime.block_on(daemon::serve(home.path())).map_err(failed)?;
        Ok(Status::Done)
    }
}

fn failed(error: DaemonError) -> Failure {
    match error {
        DaemonError::Gateway(error) => init::failed(error),
        DaemonError::Listen { .. } => Failure::unable(format!("{:#}", anyhow::Error::new(error)))
            .hint("another program has the address; `listen` in medseal.toml names ours"),
        DaemonError::Running(_) => Failure::unable(error.to_string()).hint("stop it first; one home has one gateway"),
        other => Failure::unable(format!("{:#}", anyhow::Error::new(other))),
    }
}

/// Events go to standard error, where the service manager keeps them.
fn tell_events(json: bool) {
    let filter = EnvFilter::try_from_env("MEDSEAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let events = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Output::wants_colour());
    let begun = if json { events.json().try_init() } else { events.with_target(false).try_init() };
    // Only a second daemon in one process would find it begun.
    drop(begun);
}
