//! `medseal audit`: the compliance officer's desk.

mod alarms;
mod checkpoint;
mod compare;
mod erase;
mod export;
mod keys;
mod prove;
mod replay;
mod report;
mod retention;
mod show;
mod stamp;
mod trust;
mod verify;
mod witness;

pub(super) use alarms::say as say_alarms;
use clap::Subcommand;

pub(super) use self::verify::Verify;
use super::Context;
use super::failure::Outcome;

/// The log: verified, shown, exported.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    Verify(Verify),
    Show(show::Show),
    Replay(replay::Replay),
    Export(export::Export),
    Erase(erase::Erase),
    Prove(prove::Prove),
    Report(report::Report),
    Retention(retention::Retention),
    Checkpoint(checkpoint::Checkpoint),
    Compare(compare::Compare),
    Alarms(alarms::Alarms),
    Stamp(stamp::Stamp),
    Witness(witness::Witness),
}

impl Audit {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Verify(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Replay(verb) => verb.run(context),
            Self::Export(verb) => verb.run(context),
            Self::Erase(verb) => verb.run(context),
            Self::Prove(verb) => verb.run(context),
            Self::Report(verb) => verb.run(context),
            Self::Retention(verb) => verb.run(context),
            Self::Checkpoint(verb) => verb.run(context),
            Self::Compare(verb) => verb.run(context),
            Self::Alarms(verb) => verb.run(context),
            Self::Stamp(verb) => verb.run(context),
            Self::Witness(verb) => verb.run(context),
        }
    }
}
