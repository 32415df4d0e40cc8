//! The command line: one file per verb, and what they share.
//!
//! Rule: data goes to standard output, words to standard error, both through output.rs alone; the exit status is 0
//! done, 1 refused, 2 could not do it, 75 try again.

mod answer;
mod approve;
mod audit;
mod break_glass;
mod card;
mod case;
mod consent;
mod csv;
mod demo;
mod doctor;
mod documents_list;
mod failure;
mod gather;
mod heads;
mod hold;
mod inbox;
mod incident;
mod init;
mod interrupt;
mod key;
mod open;
mod opening;
mod opinion;
mod output;
mod page;
mod partner;
mod policy;
mod recall;
mod send;
mod sender;
mod serve;
mod shell;
mod status;
mod waiting;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::{Failure, Outcome};
use self::output::Output;
use crate::client::{Api, Place};
use crate::config::Home;
use crate::reason::Reason;

/// A secure document-exchange gateway for international medical second opinions.
#[derive(Debug, Parser)]
#[command(
    name = "medseal",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit status: 0 done; 1 refused, the answer is no; 2 could not do it; 3 an export that nobody\n\
    vouches for; 75 try again later.\n\
    Example: medseal demo"
)]
struct Arguments {
    /// One institution's gateway: the folder that `medseal init` made.
    #[arg(long, global = true, env = "MEDSEAL_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// The socket on which the staff reaches the gateway, for whoever does not own its home.
    #[arg(long, global = true, env = "MEDSEAL_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print one JSON object on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Init(init::Init),
    Serve(serve::Serve),
    Card(card::Card),
    #[command(subcommand)]
    Partner(partner::Partner),
    #[command(subcommand)]
    Consent(consent::Consent),
    #[command(subcommand)]
    Case(case::Case),
    Send(send::Send),
    Approve(approve::Approve),
    #[command(subcommand)]
    BreakGlass(break_glass::BreakGlass),
    Recall(recall::Recall),
    Status(status::Status),
    Queue(status::Queue),
    Inbox(inbox::Inbox),
    Open(open::Open),
    Opinion(opinion::Opinion),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Hold(hold::Hold),
    Incident(incident::Incident),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Key(key::Key),
    Doctor(doctor::Doctor),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// What every verb is given beside its own arguments.
#[derive(Debug)]
struct Context {
    home: Option<PathBuf>,
    socket: Option<PathBuf>,
    out: Output,
}

impl Context {
    /// The home that the caller named.
    fn home(&self) -> Result<Home, Failure> {
        let named = self.home.as_ref().ok_or_else(|| {
            Failure::bad_input(Reason::BadInput, "this needs to know whose gateway it is about")
                .hint("name its folder with --home DIR or the environment variable MEDSEAL_HOME")
        })?;
        Ok(Home::at(named))
    }

    /// The running gateway of that home.
    fn api(&self) -> Result<Api, Failure> {
        match &self.socket {
            Some(socket) => Ok(Api::reach(Place::Socket(socket.clone()))?),
            None => Ok(Api::connect(&self.home()?)?),
        }
    }
}

/// Runs the program and says how it ends.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let context = Context { home: arguments.home, socket: arguments.socket, out: Output::new(arguments.json) };
    ended(&context, perform(arguments.verb, &context))
}

/// Verifies an export of a log, or the proof of one entry, as `medseal audit verify` does; without a gateway, a home or
/// the network.
#[derive(Debug, Parser)]
#[command(name = "medseal-verify", version, arg_required_else_help = true)]
struct Alone {
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verify: audit::Verify,
}

/// Runs the verifier alone and says how it ends.
pub fn verify_alone(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Alone::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let context = Context { home: None, socket: None, out: Output::new(arguments.json) };
    ended(&context, arguments.verify.alone(&context))
}

/// Says what went wrong, if anything did, and the exit status.
fn ended(context: &Context, outcome: Outcome) -> ExitCode {
    let status = outcome.unwrap_or_else(|failure| {
        context.out.failure(&failure);
        failure.status()
    });
    ExitCode::from(status as u8)
}

fn perform(verb: Verb, context: &Context) -> Outcome {
    match verb {
        Verb::Demo(verb) => verb.run(context),
        Verb::Init(verb) => verb.run(context),
        Verb::Serve(verb) => verb.run(context),
        Verb::Card(verb) => verb.run(context),
        Verb::Partner(verb) => verb.run(context),
        Verb::Consent(verb) => verb.run(context),
        Verb::Case(verb) => verb.run(context),
        Verb::Send(verb) => verb.run(context),
        Verb::Approve(verb) => verb.run(context),
        Verb::BreakGlass(verb) => verb.run(context),
        Verb::Recall(verb) => verb.run(context),
        Verb::Status(verb) => verb.run(context),
        Verb::Queue(verb) => verb.run(context),
        Verb::Inbox(verb) => verb.run(context),
        Verb::Open(verb) => verb.run(context),
        Verb::Opinion(verb) => verb.run(context),
        Verb::Audit(verb) => verb.run(context),
        Verb::Hold(verb) => verb.run(context),
        Verb::Incident(verb) => verb.run(context),
        Verb::Policy(verb) => verb.run(context),
        Verb::Key(verb) => verb.run(context),
        Verb::Doctor(verb) => verb.run(context),
        Verb::Completions(verb) => verb.run(context),
        Verb::Man(verb) => verb.run(context),
    }
}

/// Help and version are answers; everything else that clap says is a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader who closed the pipe has read enough.
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::Status::Unable as u8))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn every_verb_explains_itself_and_shows_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            for argument in command.get_arguments() {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{path}: {name} does not say what it is");
            }
            let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(command.has_subcommands() || shown.contains("Example"), "{path} shows no example");
            for verb in command.get_subcommands() {
                walk(verb, &format!("{path} {}", verb.get_name()));
            }
        }
        let command = Arguments::command();
        command.clone().debug_assert();
        walk(&command, "medseal");
    }
}
