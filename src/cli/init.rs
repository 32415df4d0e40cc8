//! `medseal init`: makes the home of one institution's gateway.

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Failure, Outcome, Status};
use super::partner::spaced;
use crate::clock::Clock;
use crate::config;
use crate::gateway::{self, GatewayError, InitOptions};
use crate::id::{Country, InstitutionId};
use crate::reason::Reason;
use crate::store::StoreError;

/// Makes a home: configuration, keys, policies, and a store whose log has its first entry.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal --home /var/lib/medseal init --id st-mary --name 'St Mary Hospital' --country IN \\\n    \
    --endpoint https://medseal.st-mary.example:8443\n\
    The home must not exist yet, or be empty."
)]
pub(super) struct Init {
    /// The institution's id in the exchange: a-z, 0-9 and -, starting with a letter.
    #[arg(long)]
    id: InstitutionId,
    /// The institution's name, as a person reads it.
    #[arg(long)]
    name: String,
    /// The country it is in: two letters of ISO 3166-1.
    #[arg(long, value_name = "CC")]
    country: Country,
    /// Where partners reach it.
    #[arg(long, value_name = "https://HOST:PORT")]
    endpoint: String,
    /// The address to listen on; the endpoint's port on every address unless given.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let home = context.home()?;
        let port = config::split_endpoint(&self.endpoint).map_or(443, |(_, port)| port);
        let listen = self.listen.unwrap_or_else(|| format!("[::]:{port}"));
        let options =
            InitOptions { id: self.id, name: self.name, country: self.country, endpoint: self.endpoint, listen };
        let card = gateway::init(home.path(), &options, &Clock::system()).map_err(failed)?;
        let fingerprint = card.fingerprint().to_string();
        if context.out.is_json() {
            context.out.object(&json!({ "id": options.id, "home": home.path(), "fingerprint": fingerprint }))?;
        } else {
            context.out.line(format!("{} is made", home.path().display()))?;
            context.out.line(format!("fingerprint of our card: {}", spaced(&fingerprint)))?;
            let home = home.path().display();
            context.out.say(format!(
                "next: `medseal --home {home} serve`, and then `medseal --home {home} card --out {}.card` for the partner",
                options.id
            ));
        }
        Ok(Status::Done)
    }
}

/// Why a home was not made or not opened, with what mends it.
pub(super) fn failed(error: GatewayError) -> Failure {
    let hint = match &error {
        GatewayError::Exists(_) => Some("name a folder that does not exist; a home is never made anew over an old one"),
        GatewayError::NoHome(_) => Some("make it with `medseal init`, or name another with --home"),
        GatewayError::Store(StoreError::InUse { .. }) => {
            Some("its gateway is running: stop it first, or let `medseal doctor` look while it runs")
        }
        GatewayError::Config(_) => Some("correct what the message names"),
        GatewayError::Log(_) | GatewayError::Store(StoreError::Absent { .. }) => Some(Reason::StoreRolledBack.remedy()),
        _ => None,
    };
    let exists = matches!(error, GatewayError::Exists(_));
    let text = format!("{:#}", anyhow::Error::new(error));
    let failure = if exists { Failure::bad_input(Reason::Conflict, text) } else { Failure::unable(text) };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
