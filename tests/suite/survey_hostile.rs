//! Does a survey stay bounded and honest, whatever the bytes are and however they arrive?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use medseal::bundle::survey::{Checked, Survey, SurveyLimits, Surveyed};
use medseal::sample_case;
use proptest::prelude::*;

use crate::needs;

/// File, media type, and a word of the reason why it was not searched; `""` where it was.
const HOSTILE: &[(&str, &str, &str)] = &[
    ("xml/01-xxe-file.xml", "application/xml", "document type"),
    ("xml/02-xxe-http.xml", "application/xml", "document type"),
    ("xml/03-billion-laughs.xml", "application/xml", "document type"),
    ("xml/04-deep.xml", "application/xml", "too deep"),
    ("xml/05-stylesheet-pi.xml", "application/hl7-cda+xml", ""),
    ("xml/06-xinclude.xml", "application/hl7-cda+xml", ""),
    ("xml/07-not-well-formed.xml", "application/xml", "broken"),
    ("xml/08-utf7-declared.xml", "application/xml", "encoding"),
    ("json/01-deep.json", "application/json", "not FHIR"),
    ("json/02-duplicate-keys.json", "application/fhir+json", "twice"),
    ("json/03-trailing.json", "application/fhir+json", "follows the end"),
    ("json/04-invalid-utf8.json", "application/fhir+json", "not valid UTF-8"),
    ("json/05-binary-html.json", "application/fhir+json", ""),
    ("json/06-external-reference.json", "application/fhir+json", ""),
    ("dicom/01-preamble-script.dcm", "application/dicom", ""),
    ("dicom/02-preamble-mz.dcm", "application/dicom", ""),
    ("dicom/03-preamble-html.dcm", "application/dicom", ""),
    ("dicom/04-length-huge.dcm", "application/dicom", ""),
    ("dicom/05-deep-sequences.dcm", "application/dicom", ""),
    ("dicom/06-endless-sequence.dcm", "application/dicom", ""),
    ("dicom/07-only-magic.dcm", "application/dicom", "cut off"),
    ("pdf/01-javascript.pdf", "application/pdf", "PDF"),
    ("pdf/02-launch.pdf", "application/pdf", "PDF"),
    ("pdf/03-embedded-file.pdf", "application/pdf", "PDF"),
    ("pdf/04-uri.pdf", "application/pdf", "PDF"),
    ("pdf/05-html-as.pdf", "text/html", "web page"),
    ("pdf/06-late-header.pdf", "application/octet-stream", "type of the file"),
    ("hl7v2/01-segment-injection.hl7", "application/hl7-v2", ""),
    ("hl7v2/02-mllp-bytes.hl7", "application/hl7-v2", "framing"),
];

#[test]
fn every_hostile_document_is_surveyed_in_no_time_and_nothing_is_believed_of_it() {
    let (Some(hostile), Some(python)) = (needs::data("hostile/make_hostile.py"), needs::tool("python3")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new(python).arg(hostile).arg(dir.path()).output().unwrap().status.success());
    let started = std::time::Instant::now();
    for (path, media_type, why) in HOSTILE {
        let seen = survey_file(&dir.path().join(path));
        assert_eq!(seen.media_type, *media_type, "{path}");
        match seen.checked {
            Checked::Yes => assert!(why.is_empty(), "{path} was searched"),
            Checked::No(said) => assert!(!why.is_empty() && said.contains(why), "{path}: {said}"),
        }
        if path.starts_with("dicom/0") && !path.contains("07") {
            assert_eq!(seen.patients[0].name(), Some("X Hostile"), "{path}");
            assert_eq!(seen.remarks.len(), usize::from(path.contains("preamble")), "{path}");
        }
    }
    // The archives are surveyed as well, as files like any other.
    let mut archives = 0;
    for folder in ["tar", "zip"] {
        for entry in std::fs::read_dir(dir.path().join(folder)).unwrap() {
            let seen = survey_file(&entry.unwrap().path());
            assert!(seen.patients.is_empty() && matches!(seen.checked, Checked::No(_)));
            archives += 1;
        }
    }
    assert!(archives > 50);
    assert!(started.elapsed().as_secs() < 20, "took {:?}", started.elapsed());
}

#[test]
fn a_document_that_two_readers_may_read_differently_is_not_searched() {
    let two_names = br#"{"resourceType":"Patient","name":[{"text":"A B"}],"name":[{"text":"C D"}]}"#;
    assert!(matches!(of("p.json", two_names).checked, Checked::No(why) if why.contains("twice")));
    let escaped = br#"{"resourceType":"Patient","birthDate":"1970-01-01","birth\u0044ate":"1980-01-01"}"#;
    assert!(matches!(of("p.json", escaped).checked, Checked::No(why) if why.contains("twice")));
}

#[test]
fn every_patient_of_a_document_counts() {
    let bundle = br#"{"resourceType":"Bundle","type":"collection","entry":[
        {"resource":{"name":[{"family":"First","given":["Ann"]}],"resourceType":"Patient"}},
        {"resource":{"resourceType":"Observation","contained":[{"resourceType":"Patient","name":[{"text":"Second Ben"}]}],
            "subject":{"identifier":{"system":"urn:x","value":"3"},"display":"Third Cay"}}},
        {"resource":{"resourceType":"Practitioner","name":[{"family":"Doctor"}],"birthDate":"1960-01-01"}}]}"#;
    let names: Vec<_> = of("b.json", bundle).patients.iter().map(|p| p.name().map(str::to_owned)).collect();
    assert_eq!(names, [Some("Ann First".into()), Some("Second Ben".into()), Some("Third Cay".into())]);
    let batch = b"MSH|^~\\&|A|B|C|D|2024||ORU^R01|1|P|2.4\rPID|1||1||ONE^A\rMSH|^~\\&|A|B|C|D|2024||ORU^R01|2|P|2.4\nPID|1||2||TWO^B\n";
    assert_eq!(of("b.hl7", batch).patients.len(), 2);
}

#[test]
fn a_long_document_is_searched_to_its_end_in_passing() {
    let mut survey = Survey::new("long.json", SurveyLimits::default());
    survey.push(br#"{"resourceType":"Bundle","type":"collection","entry":["#);
    let filler = format!(r#"{{"resource":{{"resourceType":"Binary","data":"{}"}}}},"#, "QUJD".repeat(50_000));
    for _ in 0..20 {
        survey.push(filler.as_bytes());
    }
    survey.push(br#"{"resource":{"resourceType":"Patient","name":[{"text":"At The End"}]}}]}"#);
    let seen = survey.finish();
    assert_eq!((seen.patients[0].name(), &seen.checked), (Some("At The End"), &Checked::Yes));
    assert!(seen.bytes > 4_000_000);
}

#[test]
fn beyond_a_limit_the_survey_says_so_and_still_names_whom_it_saw() {
    let limits = SurveyLimits { parsed_bytes_max: 5000, patients_max: 2, depth_max: 64, head_bytes_max: 5000 };
    let patient = |name: &str| format!(r#"{{"resource":{{"resourceType":"Patient","name":[{{"text":"{name}"}}]}}}}"#);
    let long = format!(
        r#"{{"resourceType":"Bundle","entry":[{},{}{}]}}"#,
        patient("Early Bird"),
        " ".repeat(6000),
        patient("Late Owl")
    );
    let seen = Survey::of("a.json", long.as_bytes(), limits);
    assert_eq!(seen.patients.len(), 1);
    assert!(matches!(seen.checked, Checked::No(why) if why.contains("too long")));
    let many =
        format!(r#"{{"resourceType":"Bundle","entry":[{},{},{}]}}"#, patient("A A"), patient("B B"), patient("C C"));
    let seen = Survey::of("a.json", many.as_bytes(), limits);
    assert_eq!(seen.patients.len(), 2);
    assert!(matches!(seen.checked, Checked::No(why) if why.contains("more patients")));
    // An XML header and a DICOM header that do not fit into the head.
    let xml = format!(r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><!--{}-->"#, "x".repeat(6000));
    assert!(matches!(Survey::of("a.xml", xml.as_bytes(), limits).checked, Checked::No(_)));
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM\x08\0\x05\0UT\0\0");
    dicom.extend(8000_u32.to_le_bytes());
    dicom.extend([b' '; 8000]);
    assert!(matches!(Survey::of("a.dcm", &dicom, limits).checked, Checked::No(why) if why.contains("too long")));
}

/// Documents of every kind that is read, without the sample data.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let case = sample_case::write_to(dir.path()).unwrap();
        let mut seeds: Vec<_> = ["pathology-report.xml", "summary.fhir.json", "discharge-summary.pdf", "ct/slice-01.dcm"]
            .iter()
            .map(|name| std::fs::read(case.documents_dir.join(name)).unwrap())
            .collect();
        seeds[3].truncate(6000);
        // Implicit VR, an undefined length, a directory.
        let mut implicit = b"\x08\0\x05\0\x0a\0\0\0ISO_IR 192\x10\0\x10\0\x08\0\0\0Doe^Jan ".to_vec();
        implicit.extend(b"\x10\0\x02\x10\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\x10\0\x20\0\x04\0\0\x004711\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
        seeds.push(implicit);
        seeds.push(b"MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.4\rPID|1|9|4711^^^Lab&1.2.3&ISO^MR~77||DOE^JAN^Q~ROE^J||19700102|M\rOBR|1|||11502-2^Lab^LN\r".to_vec());
        seeds
    })
}

#[test]
fn the_seeds_are_of_the_kinds_that_are_read() {
    let kinds: Vec<_> = seeds().iter().map(|seed| of("x", seed).media_type).collect();
    assert_eq!(
        kinds,
        [
            "application/hl7-cda+xml",
            "application/fhir+json",
            "application/pdf",
            "application/dicom",
            "application/dicom",
            "application/hl7-v2"
        ]
    );
    assert_eq!(of("x", &seeds()[4]).patients[0].identifiers[0].value, "4711");
    assert!(of("x", &seeds()[5]).patients[0].identifiers.len() == 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_change_nothing_and_no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        cuts in proptest::collection::vec(0_usize..6000, 0..12),
    ) {
        prop_assert!(in_pieces("x.json", &bytes, &cuts) == of("x.json", &bytes));
    }

    #[test]
    fn a_damaged_document_reads_alike_in_any_pieces(
        seed in 0_usize..6,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec(0_usize..25_000, 0..12),
    ) {
        let mut bytes = seeds()[seed].clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if end.index(3) == 0 {
            bytes.truncate(end.index(bytes.len()));
        }
        prop_assert!(in_pieces("x", &bytes, &cuts) == of("x", &bytes));
    }

    #[test]
    fn bytes_with_the_magic_of_each_reader_never_make_it_panic(
        magic in prop::sample::select(vec![
            &b"{\"resourceType\":\"Bundle\",\"entry\":["[..], b"<ClinicalDocument xmlns=\"urn:hl7-org:v3\">", b"MSH|^~\\&|", b"\x08\0\x05\0CS",
            b"\x08\0\x05\0\x04\0\0\0", b"\0\x08\0\x05CS", b"PK\x03\x04", b"\xff\xfe<\0", b"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>",
        ]),
        tail in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in proptest::collection::vec(0_usize..600, 0..6),
    ) {
        let bytes = [magic, &tail].concat();
        prop_assert!(in_pieces("x", &bytes, &cuts) == of("x", &bytes));
    }

    #[test]
    fn the_json_scan_agrees_with_serde_on_what_is_whole(text in r#"[\[\]{}",:0-9eE+.\-truefalsn\\ ua]{0,24}"#) {
        let text = format!(r#"{{"resourceType":"Basic","extension":{text}}}"#);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        // A lone half of a surrogate pair, and a number beyond a float, are JSON by the grammar and not to serde.
        let ours = of("x.json", text.as_bytes()).checked == Checked::Yes;
        prop_assert!(ours || theirs.is_err(), "{text}");
        prop_assert!(!ours || theirs.is_ok() || text.contains("\\u") || text.contains(['e', 'E']), "{text}");
    }
}

fn of(path: &str, bytes: &[u8]) -> Surveyed {
    Survey::of(path, bytes, SurveyLimits::default())
}

fn survey_file(path: &Path) -> Surveyed {
    of(path.to_str().unwrap(), &std::fs::read(path).unwrap())
}

fn in_pieces(path: &str, bytes: &[u8], cuts: &[usize]) -> Surveyed {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| (*cut).min(bytes.len())).collect();
    cuts.sort_unstable();
    let mut survey = Survey::new(path, SurveyLimits::default());
    let mut start = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        survey.push(&bytes[start..end]);
        start = end;
    }
    survey.finish()
}
