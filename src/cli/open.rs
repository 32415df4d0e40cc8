//! `medseal open`: what came in becomes documents again, on this machine, with the reader's key.
//!
//! Rule: nothing of a bundle is shown before all of it was checked; who sent it is verified, or the caller said
//! `--unsigned`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use super::answer::text;
use super::failure::{Failure, Outcome, Status};
use super::gather::gather;
use super::heads;
use super::inbox;
use super::interrupt::Interruptible;
use super::opening::{self, Opened};
use super::sender;
use super::words::Words;
use crate::bundle::descriptor::DescribedPatient;
use crate::bundle::document::PatientCheck;
use crate::bundle::extract::Extent;
use crate::bundle::identity::{self, Likeness, PatientOfCase};
use crate::bundle::path::BundlePath;
use crate::client::{Api, ProblemItem};
use crate::id::BundleId;
use crate::keys::Keys;
use crate::partner::SignedCard;
use crate::reason::Reason;
use crate::seal::Identities;
use crate::statement::dispatch::Dispatch;
use crate::statement::notices::SEALED_NOTICES_BYTES_MAX;
use crate::statement::{Kind, Signed};

/// Opens a bundle that came in, or a sealed file, and writes its documents.
#[derive(Args, Debug)]
#[command(after_help = "Examples: medseal open bundle-0123456789abcdef --out case-17\n          \
    medseal open bundle-0123456789abcdef.age --identity reader.key --card st-mary.card --out case-17\n\
    With a file it needs no gateway: X.dispatch.json and X.dispatch.json.sig lie beside X.age, as `medseal inbox\n\
    BUNDLE --save DIR` writes them. The cover sheet becomes OUT.cover.html beside OUT, what must be observed\n\
    OUT.notices.txt.")]
pub(super) struct Open {
    /// A bundle of the inbox, or a sealed file.
    #[arg(value_name = "BUNDLE|FILE.age")]
    what: PathBuf,
    /// The reader's age identity; HOME/keys/age.key where it lies there.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The folder that takes the documents; it must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The sender's card, by which the dispatch of a file is verified.
    #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
    card: Option<PathBuf>,
    /// Open a file without knowing who sent it.
    #[arg(long)]
    unsigned: bool,
    /// Keep the whole bag with its manifests.
    #[arg(long)]
    bag: bool,
    /// Why an opinion that does not name our patient belongs to the case all the same; recorded. `-` or `@FILE` is read.
    #[arg(long, value_name = "WHY")]
    confirm_patient: Option<Words>,
}

impl Open {
    pub(super) fn run(self, context: &Context) -> Outcome {
        match self.what.to_str().and_then(|text| text.parse::<BundleId>().ok()) {
            Some(bundle) if !self.what.exists() => self.open_received(context, &bundle),
            _ => self.open_file(context),
        }
    }

    fn open_received(&self, context: &Context, bundle: &BundleId) -> Outcome {
        let identities = match &self.identity {
            Some(file) => identities_in(file)?,
            None => identities_of_home(context)?,
        };
        let api = context.api()?;
        let item = api.get(&format!("/v1/inbox/{bundle}"))?;
        let card = match &self.card {
            Some(path) => sender::read_card(path)?,
            None => SignedCard::parse(text(&item, "card").as_bytes())
                .map_err(|error| Failure::refused(error.reason(), format!("the sender's card: {error}")))?,
        };
        let signed = Signed { text: text(&item, "dispatch"), signature: text(&item, "signature") };
        let dispatch = sender::verify(&signed, card.card())?;
        let us = text(&api.get("/v1/gateway")?, "id");
        if dispatch.bundle != *bundle || dispatch.to.as_str() != us {
            return Err(Failure::refused(Reason::Tampered, "the dispatch is for another bundle or another receiver"));
        }
        let notices = opening::notices(inbox::notices_of(&item)?.as_deref(), Some(&dispatch), &identities)?;
        let sealed = api.download(&format!("/v1/inbox/{bundle}/content"))?;
        let progress = context.out.progress("opening", dispatch.sealed_bytes);
        let watched = Interruptible::new(Watched { from: sealed, progress: &progress }).context("signals")?;
        let opened = opening::open(watched, &identities, Some(&dispatch), notices.as_ref(), &self.out, self.extent())?;
        drop(progress);
        let strangers = self.strangers_to_our_case(&api, &opened)?;
        if !strangers.is_empty() && self.confirm_patient.is_none() {
            tell(&api, &opened, false, None)?;
            let text = "the opinion does not name the patient of our case: its documents are written, its outcome \
                        stands on no case";
            return Err(Failure::refused(Reason::PatientMismatch, text).items(strangers).hint(
                "read them; if they are this patient's, open it again into another folder with --confirm-patient WHY",
            ));
        }
        let confirmed = self.confirm_patient.as_ref().map(Words::read).transpose()?;
        tell(&api, &opened, true, confirmed.as_deref())?;
        self.end(context, &opened, Some(&dispatch))
    }

    fn open_file(&self, context: &Context) -> Outcome {
        let name = || self.what.display().to_string();
        let identity = self.identity.as_deref().ok_or_else(|| {
            Failure::bad_input(Reason::BadInput, "a file is opened with the reader's key")
                .hint("name the identity file with --identity FILE")
        })?;
        let identities = identities_in(identity)?;
        let dispatch = self.dispatch_of_file()?;
        let notices = opening::notices(self.notices_beside()?.as_deref(), dispatch.as_ref(), &identities)?;
        let sealed = File::open(&self.what).with_context(name)?;
        let progress = context.out.progress("opening", sealed.metadata().with_context(name)?.len());
        let watched = Interruptible::new(Watched { from: sealed, progress: &progress }).context("signals")?;
        let opened =
            opening::open(watched, &identities, dispatch.as_ref(), notices.as_ref(), &self.out, self.extent())?;
        drop(progress);
        if dispatch.is_none() {
            context.out.say("warning: who sent this was not verified; only the sealed file itself was checked");
        }
        self.end(context, &opened, dispatch.as_ref())
    }

    fn dispatch_of_file(&self) -> Result<Option<Dispatch>, Failure> {
        if self.unsigned {
            return Ok(None);
        }
        let beside = sender::beside_path(&self.what, ".dispatch.json");
        let Some(card) = &self.card else {
            let hint =
                "name the sender's card with --card FILE, or say --unsigned to open it without knowing the sender";
            return Err(Failure::unable("nothing says who sent this file").hint(hint));
        };
        if !beside.exists() {
            return Err(Failure::bad_input(Reason::NotFound, format!("{} is not there", beside.display()))
                .hint("it lies beside the sealed file, with its .sig; or say --unsigned"));
        }
        sender::beside(&self.what, sender::read_card(card)?.card()).map(Some)
    }

    /// The sealed notices beside the file, where there are any.
    fn notices_beside(&self) -> Result<Option<Vec<u8>>, Failure> {
        let beside = sender::beside_path(&self.what, inbox::NOTICES_ENDING);
        let name = || beside.display().to_string();
        if !beside.exists() {
            return Ok(None);
        }
        let mut notices = Vec::new();
        let most = SEALED_NOTICES_BYTES_MAX as u64 + 1;
        File::open(&beside).with_context(name)?.take(most).read_to_end(&mut notices).with_context(name)?;
        Ok(Some(notices))
    }

    const fn extent(&self) -> Extent {
        if self.bag { Extent::WholeBag } else { Extent::Documents }
    }

    /// Says what was opened, and warns of documents that seem to be another patient's.
    fn end(&self, context: &Context, opened: &Opened, dispatch: Option<&Dispatch>) -> Outcome {
        let said = &opened.bag.descriptor;
        let strangers = self.strangers(opened)?;
        if context.out.is_json() {
            context.out.object(&json!({
                "bundle": said.bundle, "case": said.case, "from": said.from, "to": said.to, "kind": said.kind,
                "purpose": said.purpose, "question": said.question, "documents": said.documents.len(),
                "manifest_sha256": opened.bag.manifest_sha256, "sender_verified": dispatch.is_some(),
                "out": self.out, "cover": opened.cover, "opinion": said.opinion, "other_patients": strangers,
                "notices": opened.notices.as_ref().map(|(_, notices)| notices),
                "notices_file": opened.notices.as_ref().map(|(path, _)| path),
            }))?;
        } else {
            let opinion = said.opinion.as_ref().map(|opinion| format!("{} ({})", opinion.outcome, opinion.status));
            let author = said.opinion.as_ref().and_then(|opinion| opinion.author.clone());
            context.out.facts(&[
                ("bundle", said.bundle.to_string()),
                ("case", said.case.to_string()),
                (
                    "from",
                    format!(
                        "{}{}",
                        said.from,
                        if dispatch.is_some() { ", signature verified" } else { ", NOT verified" }
                    ),
                ),
                ("to", said.to.to_string()),
                ("question", said.question.clone().unwrap_or_default()),
                ("opinion", opinion.unwrap_or_default()),
                ("author", author.unwrap_or_default()),
                ("documents", format!("{} in {}", said.documents.len(), self.out.display())),
                ("cover sheet", opened.cover.display().to_string()),
                ("notices", opened.notices.as_ref().map(|(path, _)| path.display().to_string()).unwrap_or_default()),
            ])?;
        }
        for stranger in &strangers {
            context.out.say(format!("warning: {}: {}", stranger.path, stranger.text));
        }
        let sealed = opened.notices.iter().flat_map(|(_, notices)| &notices.notices);
        for notice in said.notices.iter().chain(sealed) {
            context.out.say(format!("notice: {notice}"));
        }
        Ok(Status::Done)
    }

    /// Documents that name another patient than the bundle does, and of which the sender did not say why.
    fn strangers(&self, opened: &Opened) -> Result<Vec<ProblemItem>, Failure> {
        let said = &opened.bag.descriptor;
        let Some(patient) = said.patient.as_ref().map(PatientOfCase::from) else { return Ok(Vec::new()) };
        let confirmed = |path| {
            said.documents
                .iter()
                .any(|document| document.path == path && document.patient_check == PatientCheck::Confirmed)
        };
        let strangers = self.compared(&patient)?;
        Ok(strangers
            .into_iter()
            .filter(|(path, likeness)| matches!(likeness, Likeness::Conflict(_)) && !confirmed(path.clone()))
            .filter_map(|(path, likeness)| stranger(&path, &likeness))
            .collect())
    }

    /// Documents of an opinion that do not name the patient of our case. What its sender says of the patient counts for
    /// nothing: the case is ours.
    fn strangers_to_our_case(&self, api: &Api, opened: &Opened) -> Result<Vec<ProblemItem>, Failure> {
        let said = &opened.bag.descriptor;
        if said.kind != Kind::Opinion.word() {
            return Ok(Vec::new());
        }
        let case = api.get(&format!("/v1/cases/{}", said.case))?;
        // Of an erased patient the gateway knows nothing, and nothing can be compared: the opinion is opened all the same.
        let described: DescribedPatient = serde_json::from_value(case["described"].clone()).unwrap_or_default();
        let compared = self.compared(&PatientOfCase::from(&described))?;
        Ok(compared.into_iter().filter_map(|(path, likeness)| stranger(&path, &likeness)).collect())
    }

    /// Every document that was written, compared with a patient.
    fn compared(&self, patient: &PatientOfCase) -> Result<Vec<(BundlePath, Likeness)>, Failure> {
        let folder = if self.bag { self.out.join("data") } else { self.out.clone() };
        let mut buffer = vec![0; heads::BUFFER_BYTES];
        let mut compared = Vec::new();
        for document in gather(&[folder])? {
            let surveyed = heads::survey(&document, &mut buffer, |_| ())?;
            compared.push((document.path, identity::check(&surveyed, patient)));
        }
        Ok(compared)
    }
}

/// A document that names somebody else, or perhaps somebody else.
fn stranger(path: &BundlePath, likeness: &Likeness) -> Option<ProblemItem> {
    let (Likeness::Unknown(text) | Likeness::Conflict(text)) = likeness else { return None };
    let code = Reason::PatientMismatch.code().to_owned();
    Some(ProblemItem { path: path.to_string(), code, text: text.clone() })
}

/// Tells the gateway that a reader opened the bundle, so that its log says so. An opinion that is not known to be our
/// patient's was opened, too, but goes to no case.
fn tell(api: &Api, opened: &Opened, to_case: bool, confirm_patient: Option<&str>) -> Result<(), Failure> {
    let said = &opened.bag.descriptor;
    let mut request = json!({
        "documents": said.documents.len(),
        "manifest_sha256": opened.bag.manifest_sha256,
    });
    if let Some(opinion) = said.opinion.as_ref().filter(|_| to_case) {
        if let Some(why) = confirm_patient {
            request["confirm_patient"] = Value::String(why.to_owned());
        }
        let mut what = json!({ "outcome": opinion.outcome });
        if let Some(author) = &opinion.author {
            what["author"] = Value::String(author.clone());
        }
        request["opinion"] = what;
    }
    api.post(&format!("/v1/inbox/{}/opened", said.bundle), &request).map(|_| ()).map_err(|error| {
        let failure = Failure::from(error);
        let text = format!("the documents are written, but the gateway could not record that: {}", failure.text());
        Failure::try_again(text).hint("remove them and open the bundle again, so that the log says who read it")
    })
}

fn identities_of_home(context: &Context) -> Result<Identities, Failure> {
    let absent = || {
        Failure::bad_input(Reason::BadInput, "the reader's key does not lie on this gateway")
            .hint("name it with --identity FILE, or take the sealed file to the reader with `medseal inbox BUNDLE --save DIR`")
    };
    let keys = Keys::open(&context.home()?.keys())
        .map_err(|error| Failure::unable(format!("{:#}", anyhow::Error::new(error))))?;
    let text = keys.age_identity().map_err(|error| Failure::unable(format!("{:#}", anyhow::Error::new(error))))?;
    parse(&text.ok_or_else(absent)?)
}

fn identities_in(file: &Path) -> Result<Identities, Failure> {
    let name = || file.display().to_string();
    // Room for all of it from the start: a text that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(IDENTITY_BYTES_MAX + 1));
    File::open(file)
        .with_context(name)?
        .take(IDENTITY_BYTES_MAX as u64)
        .read_to_string(&mut text)
        .with_context(name)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Identities, Failure> {
    Identities::parse(text).map_err(|error| {
        Failure::bad_input(error.reason(), error.to_string())
            .hint("an identity file holds a line AGE-SECRET-KEY-1..., as age-keygen writes it")
    })
}

/// Moves the bar while bytes go by.
struct Watched<'a, R> {
    from: R,
    progress: &'a super::output::Progress,
}

impl<R: std::io::Read> std::io::Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

/// The longest identity file, in bytes.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;
