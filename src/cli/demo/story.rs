//! The story that the demo tells, step by step.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::failure::Failure;
use super::compare;
use super::damage;
use super::site::Site;
use super::stock_tools;
use super::timeline::Timeline;
use super::whose::Whose;
use crate::durable;
use crate::sample_case::{self, EXPERT, HOSPITAL, SampleCase};

/// Tells the whole story, and hands back both institutions with their gateways running.
pub(super) fn tell(timeline: &mut Timeline, stage: &Path, input: Option<&Path>) -> Result<(Site, Site), Failure> {
    timeline.title(&[
        "A second opinion between two institutions".to_owned(),
        format!("  asks     {} ({}), {}", HOSPITAL.name, HOSPITAL.id, HOSPITAL.country),
        format!("  answers  {} ({}), {}", EXPERT.name, EXPERT.id, EXPERT.country),
    ])?;
    let sample = write_sample(stage)?;
    let (hospital, mut institute) = meet(timeline, stage)?;
    let documents = Documents::of(&sample, input);
    let whose = input.map_or_else(|| Ok(Whose::sample(&sample)), |input| Whose::of(&sample, input))?;
    let case = ask(timeline, &hospital, &institute, &whose)?;
    refuse_without_consent(timeline, &hospital, &case, &documents)?;
    let consent = consent_to(timeline, stage, &hospital, &institute, &whose)?;
    catch_stray(timeline, &hospital, &case, &sample)?;
    let records = deliver(timeline, &hospital, &case, &documents)?;
    open_records(timeline, stage, &institute, &records, &documents)?;
    bring_opinion_back(timeline, stage, &hospital, &institute, &case, &sample)?;
    withdraw(timeline, &hospital, &mut institute, &case, &consent, &documents)?;
    recall(timeline, stage, &hospital, &institute, &records)?;
    verify_logs(timeline, stage, &hospital, &institute, &whose)?;
    Ok((hospital, institute))
}

/// What is sent: the built-in case, or what the caller named.
struct Documents {
    path: PathBuf,
    list: Option<PathBuf>,
    /// Whether they may name other patients than the case's.
    foreign: bool,
}

impl Documents {
    fn of(sample: &SampleCase, input: Option<&Path>) -> Self {
        match input {
            Some(input) => Self { path: input.to_owned(), list: None, foreign: true },
            None => {
                Self { path: sample.documents_dir.clone(), list: Some(sample.documents_list.clone()), foreign: false }
            }
        }
    }

    fn send<'a>(&'a self, case: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["send", text_of(&self.path), "--case", case];
        if let Some(list) = &self.list {
            args.extend(["--documents", text_of(list)]);
        }
        args.extend_from_slice(more);
        args
    }
}

fn write_sample(stage: &Path) -> Result<SampleCase, Failure> {
    let folder = stage.join("case");
    durable::create_dir(&folder, 0o700)
        .and_then(|()| sample_case::write_to(&folder))
        .map_err(|error| Failure::unable(format!("the sample case: {error}")))
}

fn meet(timeline: &mut Timeline, stage: &Path) -> Result<(Site, Site), Failure> {
    timeline.step("Two gateways, and cards compared by fingerprint")?;
    let mut hospital = Site::init(stage, HOSPITAL)?;
    let mut institute = Site::init(stage, EXPERT)?;
    hospital.start()?;
    institute.start()?;
    for site in [&hospital, &institute] {
        timeline.seen(&format!("{} ({}) listens on 127.0.0.1:{}", site.name(), site.country(), site.port()))?;
    }
    let theirs = card_of(stage, &institute)?;
    let ours = card_of(stage, &hospital)?;
    let (code, sentence) =
        hospital.run(&["partner", "add", text_of(&theirs.file), "--fingerprint", &"0".repeat(64)])?.refused()?;
    timeline.refused(&code, &sentence)?;
    hospital.run(&["partner", "add", text_of(&theirs.file), "--fingerprint", &theirs.fingerprint])?.done()?;
    institute.run(&["partner", "add", text_of(&ours.file), "--fingerprint", &ours.fingerprint])?.done()?;
    timeline.seen(&format!("{} is a partner: fingerprint {}...", institute.id(), &theirs.fingerprint[..16]))?;
    hospital.run(&["partner", "ping", institute.id()])?.done()?;
    timeline.seen("the line is up: mutual TLS 1.3, post-quantum key exchange, each side known by its card")?;
    Ok((hospital, institute))
}

struct CardFile {
    file: PathBuf,
    fingerprint: String,
}

fn card_of(stage: &Path, site: &Site) -> Result<CardFile, Failure> {
    let file = stage.join(format!("{}.card", site.id()));
    let answer = site.run(&["card", "--out", text_of(&file)])?.done()?;
    Ok(CardFile { file, fingerprint: text(&answer, "fingerprint")? })
}

fn ask(timeline: &mut Timeline, hospital: &Site, institute: &Site, whose: &Whose) -> Result<String, Failure> {
    timeline.step("The consultant asks a question")?;
    let patient = whose.patient.to_string();
    let birth_date = whose.birth_date.to_string();
    let opened = hospital
        .run(&[
            "case",
            "open",
            "--patient",
            &patient,
            "--partner",
            institute.id(),
            "--purpose",
            "TREAT",
            "--question",
            whose.question,
            "--name",
            &whose.name,
            "--birth-date",
            &birth_date,
        ])?
        .done()?;
    let case = text(&opened, "case")?;
    let who = if whose.of_input { "named in the documents" } else { "synthetic" };
    timeline.seen(&format!("{case}: {}, born {birth_date} ({who})", whose.name))?;
    timeline.more(whose.question)?;
    Ok(case)
}

fn refuse_without_consent(
    timeline: &mut Timeline,
    hospital: &Site,
    case: &str,
    documents: &Documents,
) -> Result<(), Failure> {
    timeline.step("Without the patient's consent nothing leaves")?;
    let confirm: &[&str] = if documents.foreign { &["--confirm-patient", CONFIRMED] } else { &[] };
    let (code, sentence) = hospital.run(&documents.send(case, confirm))?.refused()?;
    timeline.refused(&code, &sentence)
}

fn consent_to(
    timeline: &mut Timeline,
    stage: &Path,
    hospital: &Site,
    institute: &Site,
    whose: &Whose,
) -> Result<String, Failure> {
    timeline.step("The patient consents")?;
    let today = crate::clock::Clock::system().now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let wrong = |error: &dyn std::fmt::Display| Failure::unable(format!("the sample consent: {error}"));
    let resource = sample_case::consent_json(
        &whose.patient,
        &institute.id().parse().map_err(|error| wrong(&error))?,
        &institute.country().parse().map_err(|error| wrong(&error))?,
        today.yesterday().map_err(|error| wrong(&error))?,
        today.saturating_add(jiff::Span::new().years(1)),
    );
    let file = stage.join("consent.fhir.json");
    durable::write_new(&file, resource.as_bytes(), 0o600).map_err(|error| wrong(&error))?;
    let added = hospital.run(&["consent", "add", text_of(&file)])?.done()?;
    let consent = text(&added, "consent")?;
    timeline.seen(&format!("{consent}, FHIR R4, understood"))?;
    timeline.more(&text(&added, "permits")?)?;
    Ok(consent)
}

fn catch_stray(timeline: &mut Timeline, hospital: &Site, case: &str, sample: &SampleCase) -> Result<(), Failure> {
    timeline.step("A document of another patient is caught by name")?;
    let (code, sentence) = hospital.run(&["send", text_of(&sample.stray_file), "--case", case])?.refused()?;
    timeline.refused(&code, &sentence)
}

fn deliver(timeline: &mut Timeline, hospital: &Site, case: &str, documents: &Documents) -> Result<String, Failure> {
    timeline.step("The records go out, sealed to the institute's key")?;
    let mut confirm: Vec<&str> = Vec::new();
    if documents.foreign {
        let first = hospital.run(&documents.send(case, &[]))?;
        if let Some(items) = first.answer["error"]["items"].as_array() {
            timeline.refused(
                "PATIENT_MISMATCH",
                &match items.len() {
                    1 => "1 document names another patient than the case".to_owned(),
                    count => format!("{count} documents name another patient than the case"),
                },
            )?;
            for item in items.iter().take(SHOWN_MAX) {
                timeline.more(&format!("{}: {}", short(&item["path"]), short(&item["text"])))?;
            }
            if items.len() > SHOWN_MAX {
                timeline.more(&format!("and {} more", items.len() - SHOWN_MAX))?;
            }
            timeline.more(&format!("confirmed, and recorded: \"{CONFIRMED}\""))?;
            confirm.extend(["--confirm-patient", CONFIRMED]);
        } else {
            // Nobody is named, or the case's own patient: it is on its way already.
            let bundle = text(&first.done()?, "bundle")?;
            return delivered(timeline, hospital, bundle);
        }
    }
    let sent = hospital.run(&documents.send(case, &confirm))?.done()?;
    delivered(timeline, hospital, text(&sent, "bundle")?)
}

fn delivered(timeline: &mut Timeline, hospital: &Site, bundle: String) -> Result<String, Failure> {
    let status = await_state(hospital, &bundle, "delivered")?;
    let (documents, bytes) = (&status["documents"], status["sealed_bytes"].as_u64().unwrap_or_default());
    timeline.seen(&format!("{bundle}: {documents} documents, {bytes} bytes sealed with age"))?;
    let release = entry(hospital, "release", &bundle)?;
    timeline.seen(&format!(
        "decided at the moment of release: entry {} of the log, under {} version {}, before the first byte left",
        release["_seq"],
        short(&release["consent"]),
        release["consent_version"]
    ))?;
    let receipt = entry(hospital, "receipt", &bundle)?;
    timeline.seen(&format!("delivered: the institute's signed receipt is verified, and entry {}", receipt["_seq"]))?;
    Ok(bundle)
}

fn open_records(
    timeline: &mut Timeline,
    stage: &Path,
    institute: &Site,
    bundle: &str,
    documents: &Documents,
) -> Result<(), Failure> {
    timeline.step("The expert opens them with the reader's key")?;
    let out = stage.join("opened-records");
    institute.run(&["open", bundle, "--out", text_of(&out)])?.done()?;
    let files = compare::same(&documents.path, &out)?;
    timeline.seen(&format!("{files} files, byte for byte what was sent; dispatch, seal and every digest verified"))?;
    let saved = stage.join("sealed");
    durable::create_dir(&saved, 0o700).map_err(|error| Failure::unable(format!("{}: {error}", saved.display())))?;
    let sealed = text(&institute.run(&["inbox", bundle, "--save", text_of(&saved)])?.done()?, "sealed")?;
    let key = institute.home().join("keys").join(crate::keys::AGE_KEY);
    match stock_tools::agree(Path::new(&sealed), &key, &stage.join("ordinary-tools"))? {
        Some(true) => timeline.seen("the same without medseal: `age -d | tar -x` opens it, `sha256sum -c` agrees"),
        Some(false) => Err(Failure::unable("age, tar or sha256sum do not open what medseal sealed")),
        None => timeline.more("with age installed, `age -d -i keys/age.key BUNDLE.age | tar -x` opens it as well"),
    }
}

fn bring_opinion_back(
    timeline: &mut Timeline,
    stage: &Path,
    hospital: &Site,
    institute: &Site,
    case: &str,
    sample: &SampleCase,
) -> Result<(), Failure> {
    timeline.step("The written opinion comes back to the right case")?;
    let given = institute
        .run(&[
            "opinion",
            case,
            text_of(&sample.opinion_file),
            "--outcome",
            sample.opinion_outcome,
            "--author",
            sample.opinion_author,
        ])?
        .done()?;
    let bundle = text(&given, "bundle")?;
    await_state(institute, &bundle, "delivered")?;
    timeline.seen(&format!("{bundle}: tied to the release that it answers, delivered to {}", hospital.id()))?;
    let out = stage.join("opened-opinion");
    hospital.run(&["open", &bundle, "--out", text_of(&out)])?.done()?;
    let shown = hospital.run(&["case", "show", case])?.done()?;
    let opinion = &shown["opinions"][0];
    timeline.seen(&format!(
        "on {case}: {}, by {}",
        opinion["outcome"].as_str().unwrap_or_default(),
        opinion["author"].as_str().unwrap_or_default()
    ))
}

fn withdraw(
    timeline: &mut Timeline,
    hospital: &Site,
    institute: &mut Site,
    case: &str,
    consent: &str,
    documents: &Documents,
) -> Result<(), Failure> {
    timeline.step("The patient withdraws while a second bundle waits")?;
    institute.stop()?;
    let confirm: &[&str] = if documents.foreign { &["--confirm-patient", CONFIRMED] } else { &[] };
    let sent = hospital.run(&documents.send(case, confirm))?.done()?;
    let bundle = text(&sent, "bundle")?;
    let waiting = await_reason(hospital, &bundle)?;
    timeline.seen(&format!("{bundle} waits: {}", waiting["says"].as_str().unwrap_or_default()))?;
    hospital.run(&["consent", "withdraw", consent, "--reason", "the patient changed her mind"])?.done()?;
    let cancelled = await_state(hospital, &bundle, "cancelled")?;
    let (code, says) = (text(&cancelled, "reason")?, text(&cancelled, "says")?);
    timeline.refused(&code, &says)?;
    institute.start()?;
    let inbox = institute.run(&["inbox"])?.done()?;
    let arrived =
        inbox["items"].as_array().is_some_and(|items| items.iter().any(|item| item["bundle"] == bundle.as_str()));
    if arrived {
        return Err(Failure::unable("a bundle arrived after its consent was withdrawn"));
    }
    timeline.seen(&format!("{} is back, and got nothing", institute.id()))
}

/// The withdrawal ordered it: what was delivered is called back as soon as the institute can be reached.
fn recall(
    timeline: &mut Timeline,
    stage: &Path,
    hospital: &Site,
    institute: &Site,
    bundle: &str,
) -> Result<(), Failure> {
    timeline.step("What was delivered is recalled, and the institute answers for it")?;
    let status = await_state(hospital, bundle, "recalled")?;
    let answer = entry(hospital, "recalled", bundle)?;
    // While the institute was away the log says so; the last try is the one that was answered.
    let shown = hospital.run(&["audit", "show"])?.done()?;
    let entries = shown["items"].as_array().cloned().unwrap_or_default();
    let is_ours = |entry: &&Value| entry["action"] == "sent" && entry["recall"] == answer["recall"];
    let sent = entries.iter().rfind(is_ours).cloned().unwrap_or_default();
    timeline.seen(&format!("{bundle}: the signed recall is entry {} of the log, then it left", sent["_seq"]))?;
    let gone = entry(institute, "destroyed", bundle)?;
    timeline.seen(&format!("{} destroyed the sealed file: entry {} of its log", institute.id(), gone["_seq"]))?;
    timeline.seen(&format!("its signed answer is verified, and entry {}", answer["_seq"]))?;
    if status["recall"]["answer"]["opened"].is_string() {
        timeline.more("it says that the records had been opened before: that copy only people can destroy")?;
    }
    let out = stage.join("opened-after-recall");
    let (code, sentence) = institute.run(&["open", bundle, "--out", text_of(&out)])?.refused()?;
    timeline.refused(&code, &sentence)
}

fn verify_logs(
    timeline: &mut Timeline,
    stage: &Path,
    hospital: &Site,
    institute: &Site,
    whose: &Whose,
) -> Result<(), Failure> {
    timeline.step("Both logs verify; one edited byte is named")?;
    for site in [hospital, institute] {
        let report = site.run(&["audit", "verify"])?.done()?;
        let root = report["root"].as_str().unwrap_or_default();
        timeline.seen(&format!(
            "{}: {} entries, chained and signed, root {:.16}...",
            site.id(),
            report["entries"],
            root
        ))?;
        let entries = site.run(&["audit", "show"])?.done()?.to_string();
        if [whose.name.as_str(), whose.patient.value()].iter().any(|told| told.len() > 3 && entries.contains(told)) {
            return Err(Failure::unable(format!("the log of {} names the patient", site.id())));
        }
    }
    timeline.seen("no entry names the patient: a random pseudonym stands there")?;
    let export = stage.join("exported-log");
    hospital.run(&["audit", "export", text_of(&export)])?.done()?;
    let card = stage.join(format!("{}.card", hospital.id()));
    hospital.run(&["audit", "verify", text_of(&export), "--key", text_of(&card)])?.done()?;
    timeline.seen("an export verifies without the gateway; python3 and openssl can do it too: verify.py")?;
    let copy = stage.join("exported-log-edited");
    let edited = damage::copy_with_one_byte_changed(&export, &copy)?;
    let ran = hospital.run(&["audit", "verify", text_of(&copy)])?;
    let finding = ran.answer["finding"].clone();
    ran.refused()?;
    let (seq, kind) = (finding["seq"].clone(), finding["kind"].as_str().unwrap_or_default().to_owned());
    if seq != edited {
        return Err(Failure::unable(format!("entry {edited} was edited, but the verifier named {seq}")));
    }
    timeline.refused("TAMPERED", &format!("entry {seq} of the copy: {kind}: {}", short(&finding["message"])))
}

/// The entry of this kind about a bundle.
fn entry(site: &Site, kind: &str, bundle: &str) -> Result<Value, Failure> {
    let shown = site.run(&["audit", "show"])?.done()?;
    let entries = shown["items"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .find(|entry| entry["kind"] == kind && entry["bundle"] == bundle)
        .ok_or_else(|| Failure::unable(format!("the log has no {kind} of {bundle}")))
}

fn await_state(site: &Site, bundle: &str, state: &str) -> Result<Value, Failure> {
    let status =
        watch(site, bundle, |status| status["state"] == state || (is_final(status) && !is_being_recalled(status)))?;
    if status["state"] == state {
        Ok(status)
    } else {
        Err(Failure::unable(format!("{bundle} is not {state}: {status}")))
    }
}

fn await_reason(site: &Site, bundle: &str) -> Result<Value, Failure> {
    watch(site, bundle, |status| (status["state"] == "waiting" && !status["reason"].is_null()) || is_final(status))
}

fn watch(site: &Site, bundle: &str, enough: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
    for _ in 0..LOOKS {
        let status = site.run(&["status", bundle])?.done()?;
        if enough(&status) {
            return Ok(status);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Failure::try_again(format!("{bundle} did not get there in time")))
}

fn is_being_recalled(status: &Value) -> bool {
    !status["recall"]["next_try"].is_null()
}

fn is_final(status: &Value) -> bool {
    ["delivered", "refused", "cancelled", "failed"].iter().any(|state| status["state"] == *state)
}

fn text(answer: &Value, field: &str) -> Result<String, Failure> {
    answer[field].as_str().map(str::to_owned).ok_or_else(|| Failure::unable(format!("no {field} in {answer}")))
}

/// The text up to a line's length, cut between words.
fn short(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) else { return text.to_owned() };
    let words = text[..end].rfind(' ').map_or(&text[..end], |space| &text[..space]);
    format!("{words} ...")
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

const CONFIRMED: &str = "demonstration with a folder of many patients";
const SHOWN_MAX: usize = 5;
const TEXT_CHARS_MAX: usize = 120;
const LOOKS: u32 = 3000;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
