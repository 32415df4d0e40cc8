//! CPU time of one decision, its look-up in the store included: `cargo bench --bench decision`.
//!
//! Ten consents are on file for the patient and 100,000 patients in the store (sled). Beside it, in the same run, what
//! the machine needs for the least that any such decision must do: read the consents' bytes, hash and parse them as
//! JSON. `MEDSEAL_BENCH_PATIENTS` and `MEDSEAL_BENCH_DECISIONS` change the sizes.

#![allow(clippy::print_stdout, reason = "a measurement prints what it found")]

#[allow(dead_code, reason = "the tests ask more than a measurement does")]
#[path = "../tests/suite/asking.rs"]
mod asking;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medseal::clock::{self, Clock};
use medseal::config::Home;
use medseal::decision::{Kind, decide};
use medseal::desk::Staff;
use medseal::desk::cases::OpenCase;
use medseal::desk::partners::AddPartner;
use medseal::desk::{cases, consents, partners};
use medseal::gateway::{Gateway, InitOptions, init, put};
use medseal::id::{BundleId, CaseId, ConsentId, Digest, PatientIdentifier, SubjectId};
use medseal::records::{BundleRecord, CaseRecord, ConsentRecord, NewBundle, Side};
use medseal::release::question_of;
use medseal::statement::dispatch::SealedBundle;
use medseal::store::{Expect, Put, Space, WriteSet};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    let size =
        |name: &str, otherwise: usize| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (patients, decisions) = (size("MEDSEAL_BENCH_PATIENTS", 100_000), size("MEDSEAL_BENCH_DECISIONS", 20_000));
    let base = std::env::var_os("MEDSEAL_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let folder = tempfile::tempdir_in(base).expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bundles = runtime.block_on(async {
        let gateway = hospital(folder.path()).await;
        fill(&gateway, patients);
        let mut bundles = Vec::new();
        for number in 0..PROBED {
            bundles.push(bundle(&gateway, number).await);
        }
        gateway.log.close().expect("closed");
        bundles
    });
    // The kernel's own work on what was filled in must not stand beside what is measured.
    rustix::fs::sync();
    // As after a start: what the filling left in memory is not what a gateway has there.
    let gateway = {
        let _within = runtime.enter();
        Gateway::open(&Home::at(&folder.path().join("tallinn")), Clock::system()).expect("it opens again")
    };
    let resources: Vec<Vec<u8>> = (0..CONSENTS).map(|number| consent(0, number).to_string().into_bytes()).collect();
    println!(
        "{CONSENTS} consents on file, {DOCUMENTS} documents, {patients} patients in the store, {decisions} decisions"
    );
    println!("{:<44}{:>10}{:>10}{:>10}", "CPU time, milliseconds", "p50", "p99", "most");

    let (mut limit, mut look_up, mut deciding, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..decisions {
        let record = &bundles[number % bundles.len()];
        let begun = cpu_time();
        let request = question_of(&gateway, record, None).expect("a question");
        let asked = cpu_time();
        drop(decide(&gateway.gates(), &request, gateway.now()).expect("permitted"));
        let done = cpu_time();
        look_up.push(asked.saturating_sub(begun));
        deciding.push(done.saturating_sub(asked));
        whole.push(done.saturating_sub(begun));
        limit.push(least(&resources));
    }
    line("the least: hash and parse ten consents", limit);
    line("look-up in the store (question_of)", look_up);
    line("decision (decide)", deciding);
    let p99 = line("both", whole);
    println!("goal: p99 below 1 ms of CPU time: {}", if p99 < Duration::from_millis(1) { "met" } else { "NOT met" });
    gateway.log.close().expect("closed");
}

/// A hospital that knows one institute.
async fn hospital(folder: &Path) -> Arc<Gateway> {
    let clock = Clock::system();
    let options = |id: &str, country: &str| InitOptions {
        id: id.parse().expect("an id"),
        name: id.to_owned(),
        country: country.parse().expect("a country"),
        endpoint: "https://localhost:8443".to_owned(),
        listen: "127.0.0.1:8443".to_owned(),
    };
    let card = init(&folder.join("heidelberg"), &options("heidelberg", "DE"), &clock).expect("a home");
    init(&folder.join("tallinn"), &options("tallinn", "EE"), &clock).expect("a home");
    let gateway = Gateway::open(&Home::at(&folder.join("tallinn")), clock).expect("it opens");
    let fingerprint = Some(card.fingerprint().to_string());
    let request = AddPartner { card: card.file_text().clone(), fingerprint, agreement: None };
    partners::add(&gateway, US, request).await.expect("a partner");
    gateway
}

/// Other patients: their records in the store, as many bytes as a real one has, and the files of their keys. They are
/// written past the gateway, because a hundred thousand durable writes take longer than the measurement.
fn fill(gateway: &Gateway, patients: usize) {
    let subjects = gateway.home.subjects();
    for many in (0..patients).collect::<Vec<_>>().chunks(400) {
        let puts: Vec<Put> = many.iter().flat_map(|_| patient()).collect();
        let head = gateway.store().head().expect("a head");
        gateway.store().commit(WriteSet { puts, ..WriteSet::at(head) }).expect("written");
        for name in many.iter().flat_map(|_| ["alias", "key"]) {
            let digest = Digest::of(&medseal::id::random_bytes::<32>());
            std::fs::File::create_new(subjects.join(format!("{name}-{digest}"))).expect("a file");
        }
    }
}

fn patient() -> Vec<Put> {
    let (subject, id, case) = (SubjectId::random(), ConsentId::random(), CaseId::random());
    let now = clock::stamp("2026-01-01T00:00:00Z".parse().expect("a time"));
    let case = CaseRecord {
        case,
        side: Side::Ours,
        subject: subject.clone(),
        partner: "heidelberg".parse().expect("an id"),
        purpose: "TREAT".parse().expect("a purpose"),
        opened: now.clone(),
        closed: None,
    };
    let record: ConsentRecord = serde_json::from_value(json!({
        "consent": id, "version": 1, "subject": subject, "added": now, "countries": [["heidelberg", "DE"]], "withdrawn": null,
    }))
    .expect("a record");
    let sealed = |space: Space, key: &[u8], bytes: usize| Put {
        space: Space::Sealed,
        key: [subject.as_str().as_bytes(), b"/", &[space.prefix()], key, b"/000000"].concat(),
        expect: Expect::Any,
        value: vec![7; bytes],
    };
    let key = CaseRecord::key(&Side::Ours, &case.case);
    vec![
        put(Space::Case, &key, &case, Expect::Any),
        sealed(Space::Case, &key, 400),
        put(Space::Consent, &ConsentRecord::key(&subject, &id), &record, Expect::Any),
        put(Space::Index, format!("consent-version/{id}/1").as_bytes(), &record, Expect::Any),
        put(Space::Index, format!("consent/{id}").as_bytes(), &subject, Expect::Any),
        sealed(Space::Consent, id.as_str().as_bytes(), 1600),
    ]
}

/// A patient with ten consents, of which the last permits, and a bundle that waits.
async fn bundle(gateway: &Gateway, number: usize) -> BundleRecord {
    let patient: PatientIdentifier = format!("https://st-mary.example/mrn|{number}").parse().expect("an identifier");
    for other in 0..CONSENTS {
        let text = consent(number, other).to_string();
        consents::add(gateway, US, text.as_bytes(), Vec::new()).await.expect("recorded");
    }
    let open = OpenCase {
        patient,
        partner: "heidelberg".parse().expect("an id"),
        purpose: "TREAT".parse().expect("a purpose"),
        question: "Operate?".to_owned(),
        name: None,
        birth_date: None,
    };
    let case = cases::open(gateway, US, open).await.expect("a case");
    let case = cases::find(gateway, &case).expect("the case").value;
    let partner = gateway.partner(&case.partner).expect("a partner");
    let sealed = SealedBundle {
        bundle: BundleId::random(),
        case: case.case.clone(),
        to: case.partner.clone(),
        kind: Kind::Records,
        sealed_sha256: Digest::of(b"sealed"),
        sealed_bytes: 1 << 20,
        header_bytes: 400,
        manifest_sha256: Digest::of(b"manifest"),
        recipients: partner.recipients_at(gateway.now()),
    };
    let new = NewBundle {
        bundle: sealed.bundle.clone(),
        partner: case.partner.clone(),
        kind: Kind::Records,
        answers: None,
        urgent: false,
        sent_by: US.uid,
        emergency: None,
        documents: u32::try_from(DOCUMENTS).expect("few"),
        case,
    };
    let record = BundleRecord::sealed(new, sealed, gateway.now());
    let documents: Vec<_> = (0..DOCUMENTS).map(|each| asking::document(&format!("records/{each}.pdf"))).collect();
    let name = record.bundle.as_str().as_bytes();
    let puts = gateway.seal_parts(Space::Bundle, name, &record.subject, &documents).expect("sealed");
    let head = gateway.store().head().expect("a head");
    // The log may sign at the same moment, which moves nothing here.
    gateway.store().commit(WriteSet { puts, ..WriteSet::at(head) }).expect("written");
    record
}

/// Consents of one patient: for another institute, for other documents, a denial of others; the last one permits.
fn consent(patient: usize, number: usize) -> Value {
    let mut consent = asking::consent();
    consent["id"] = json!(format!("consent-{number}"));
    consent["patient"]["identifier"]["value"] = json!(patient.to_string());
    consent["provision"]["period"] = json!({ "start": "2026-01-01", "end": "2036-01-01" });
    let class = |code: &str| json!([{ "system": "http://loinc.org", "code": code }]);
    match number % 4 {
        _ if number == CONSENTS - 1 => {}
        0 => consent["provision"]["actor"] = json!([asking::recipient("mayo")]),
        1 => consent["provision"]["class"] = class("11526-1"),
        2 => consent["provision"] = json!({ "type": "deny", "class": class("11504-8") }),
        _ => consent["provision"]["dataPeriod"] = json!({ "start": "2020-01-01", "end": "2020-12-31" }),
    }
    consent
}

fn least(resources: &[Vec<u8>]) -> Duration {
    let begun = cpu_time();
    for resource in resources {
        std::hint::black_box((Digest::of(resource), serde_json::from_slice::<Value>(resource).expect("json")));
    }
    cpu_time().saturating_sub(begun)
}

/// What this thread has used of a processor: what others do on the machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("not negative")
}

/// Prints a row, and hands back the 99th percentile.
fn line(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:<44}{:>10.3}{:>10.3}{:>10.3}", ms(at(50)), ms(at(99)), ms(at(100)));
    at(99)
}

const US: Staff = Staff { uid: 1000 };
const PROBED: usize = 50;
const CONSENTS: usize = 10;
const DOCUMENTS: usize = 10;
