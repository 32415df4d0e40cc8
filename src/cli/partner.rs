//! `medseal partner`: the institutions that we exchange with.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, text};
use super::failure::{Failure, Outcome, Status};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::{Digest, InstitutionId};
use crate::partner::{Agreement, TransferBasis, parse_fingerprint, show_fingerprint};
use crate::reason::Reason;

/// The institutions that we exchange with.
#[derive(Debug, Subcommand)]
pub(super) enum Partner {
    Add(Add),
    List(List),
    Show(Show),
    Suspend(Suspend),
    Resume(Resume),
    Remove(Remove),
    Ping(Ping),
}

/// Registers a partner by its card, or renews the card.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner add institute.card --fingerprint 3f2a91c0...\n\
    Ask the partner for the fingerprint by telephone, on a number that you know. A renewed card that the old key\n\
    signed needs no fingerprint.")]
pub(super) struct Add {
    /// The card, as `medseal card` printed it at the partner's.
    card: PathBuf,
    /// The fingerprint that the partner read aloud; spaces and colons do not count.
    #[arg(long, value_name = "FP")]
    fingerprint: Option<String>,
    /// The first day of the agreement, as 2026-01-31; from now on unless given.
    #[arg(long, value_name = "DATE")]
    agreed_from: Option<Date>,
    /// The last day of the agreement; until further notice unless given.
    #[arg(long, value_name = "DATE")]
    agreed_until: Option<Date>,
    /// What the transfer to the partner's country rests on.
    #[arg(long)]
    basis: Option<Basis>,
    /// The partner has undertaken what US law (42 CFR Part 2) asks of whoever holds records of substance use.
    #[arg(long)]
    part2: bool,
    /// The signed agreement; its digest is recorded, never its content.
    #[arg(long, value_name = "FILE")]
    agreement: Option<PathBuf>,
}

/// What a transfer to another country rests on.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Basis {
    /// A decision that the country protects data adequately.
    Adequacy,
    /// Standard contractual clauses.
    Scc,
    /// The United Kingdom's international data transfer agreement.
    UkIdta,
    /// Both institutions are in one country.
    Domestic,
    /// Nothing but the patient's consent.
    None,
}

/// Lists the partners.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner list")]
pub(super) struct List {}

/// Shows one partner.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner show heidelberg")]
pub(super) struct Show {
    /// The partner.
    id: InstitutionId,
}

/// Stops all exchange with a partner until it is resumed.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner suspend heidelberg")]
pub(super) struct Suspend {
    /// The partner.
    id: InstitutionId,
}

/// Lets a suspended partner exchange again.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner resume heidelberg")]
pub(super) struct Resume {
    /// The partner.
    id: InstitutionId,
}

/// Forgets a partner; the log keeps what was exchanged.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner remove heidelberg")]
pub(super) struct Remove {
    /// The partner.
    id: InstitutionId,
}

/// Asks a partner's gateway whether it is there and knows us.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal partner ping heidelberg")]
pub(super) struct Ping {
    /// The partner.
    id: InstitutionId,
}

impl Partner {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Add(verb) => verb.run(context),
            Self::List(_) => list(context),
            Self::Show(verb) => show(context, &context.api()?.get(&format!("/v1/partners/{}", verb.id))?),
            Self::Suspend(verb) => show(context, &act(context, &verb.id, "suspend")?),
            Self::Resume(verb) => show(context, &act(context, &verb.id, "resume")?),
            Self::Remove(verb) => show(context, &context.api()?.delete(&format!("/v1/partners/{}", verb.id))?),
            Self::Ping(verb) => {
                let answer = act(context, &verb.id, "ping")?;
                if context.out.is_json() {
                    context.out.object(&answer)?;
                } else {
                    context.out.line(format!("{} answers; its clock says {}", verb.id, text(&answer, "time")))?;
                }
                Ok(Status::Done)
            }
        }
    }
}

impl Add {
    fn run(self, context: &Context) -> Outcome {
        let card =
            std::fs::read_to_string(&self.card).with_context(|| self.card.display().to_string()).map_err(|error| {
                Failure::from(error).hint("name the file that `medseal card --out FILE` made at the partner's")
            })?;
        let mut request = json!({ "card": card });
        if let Some(fingerprint) = &self.fingerprint {
            let digest = parse_fingerprint(fingerprint).map_err(|error| {
                Failure::bad_input(Reason::BadInput, format!("the fingerprint: {error}"))
                    .hint("it is what `medseal card` prints at the partner's: eight groups of eight")
            })?;
            request["fingerprint"] = json!(digest);
        }
        if let Some(agreement) = self.agreement_of(context)? {
            request["agreement"] = json!(agreement);
        }
        show(context, &context.api()?.post("/v1/partners", &request)?)
    }

    /// What was agreed, where the flags say anything of it. A day begins and ends in the institution's own zone.
    fn agreement_of(&self, context: &Context) -> Result<Option<Agreement>, Failure> {
        let flags = [self.agreed_from.is_some(), self.agreed_until.is_some(), self.basis.is_some(), self.part2];
        if !flags.contains(&true) && self.agreement.is_none() {
            return Ok(None);
        }
        let zone = Config::read(&context.home()?.config()).map_or(TimeZone::UTC, |config| config.zone());
        let start_of = |day: Date| day.to_zoned(zone.clone()).map(|start| start.timestamp());
        let too_far = |_| Failure::bad_input(Reason::BadInput, "this date is too far away");
        let mut agreement = Agreement::attested(Clock::system().now());
        if let Some(day) = self.agreed_from {
            agreement.from = start_of(day).map_err(too_far)?;
        }
        if let Some(day) = self.agreed_until {
            agreement.until = Some(day.tomorrow().and_then(start_of).map_err(too_far)?);
        }
        agreement.basis = self.basis.map_or(TransferBasis::Attested, Into::into);
        agreement.part2 = self.part2;
        if let Some(path) = &self.agreement {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            agreement.document = Some(Digest::of(&bytes));
        }
        Ok(Some(agreement))
    }
}

impl From<Basis> for TransferBasis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Adequacy => Self::Adequacy,
            Basis::Scc => Self::Scc,
            Basis::UkIdta => Self::UkIdta,
            Basis::Domestic => Self::Domestic,
            Basis::None => Self::None,
        }
    }
}

/// A fingerprint as it is read aloud; a text that is none stays as it is.
pub(super) fn spaced(fingerprint: &str) -> String {
    fingerprint.parse().map_or_else(|_| fingerprint.to_owned(), |digest| show_fingerprint(&digest))
}

fn act(context: &Context, id: &InstitutionId, action: &str) -> Result<Value, Failure> {
    Ok(context.api()?.post(&format!("/v1/partners/{id}/{action}"), &json!({}))?)
}

fn list(context: &Context) -> Outcome {
    let answer = context.api()?.get("/v1/partners")?;
    if context.out.is_json() {
        context.out.object(&answer)?;
        return Ok(Status::Done);
    }
    let rows: Vec<Vec<String>> = items(&answer)
        .iter()
        .map(|partner| {
            ["id", "name", "country", "exchange", "standing", "expires"].map(|name| text(partner, name)).to_vec()
        })
        .collect();
    context.out.table(&["ID", "NAME", "COUNTRY", "EXCHANGE", "STANDING", "CARD ENDS"], &rows)?;
    Ok(Status::Done)
}

fn show(context: &Context, partner: &Value) -> Outcome {
    if context.out.is_json() {
        context.out.object(partner)?;
    } else {
        context.out.facts(&[
            ("id", text(partner, "id")),
            ("name", text(partner, "name")),
            ("country", text(partner, "country")),
            ("exchange", text(partner, "exchange")),
            ("endpoint", text(partner, "endpoint")),
            ("standing", text(partner, "standing")),
            ("fingerprint", spaced(&text(partner, "fingerprint"))),
            ("card ends", text(partner, "expires")),
        ])?;
    }
    Ok(Status::Done)
}
