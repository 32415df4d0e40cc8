//! Is the built-in sample case what a hospital would send, and does it say of itself what the demo relies on?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use jiff::civil::date;
use medseal::bundle::identity::{self, Likeness, PatientOfCase};
use medseal::bundle::survey::{Checked, Survey, SurveyLimits, Surveyed};
use medseal::consent::Consent;
use medseal::sample_case::{self, SampleCase};

fn written() -> (tempfile::TempDir, SampleCase) {
    let dir = tempfile::tempdir().unwrap();
    let case = sample_case::write_to(dir.path()).unwrap();
    (dir, case)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn survey(path: &str, bytes: &[u8]) -> Surveyed {
    Survey::of(path, bytes, SurveyLimits::default())
}

fn patient(case: &SampleCase) -> PatientOfCase {
    PatientOfCase {
        identifiers: vec![case.patient.clone()],
        name: Some(case.name.to_owned()),
        birth_date: Some(case.birth_date),
    }
}

#[test]
fn the_same_bytes_are_written_each_time() {
    let ((first, _), (second, _)) = (written(), written());
    assert_eq!(files(first.path()), files(second.path()));
    assert_eq!(files(first.path()).len(), 11);
}

#[test]
fn every_document_that_can_say_so_names_the_patient_of_the_case() {
    let (_dir, case) = written();
    let mut said = Vec::new();
    for (path, bytes) in files(&case.documents_dir) {
        let seen = survey(&path, &bytes);
        match identity::check(&seen, &patient(&case)) {
            Likeness::Match => said.push((path, seen.media_type, seen.class)),
            Likeness::NotChecked(why) => {
                assert_eq!((path.as_str(), why.as_str()), ("discharge-summary.pdf", "a PDF is not searched for names"));
            }
            other => panic!("{path}: {:?}", other.why()),
        }
    }
    assert_eq!(said.len(), 7);
    assert!(said.contains(&("pathology-report.xml".into(), "application/hl7-cda+xml", Some("11526-1".into()))));
    assert!(said.contains(&("summary.fhir.json".into(), "application/fhir+json", Some("60591-5".into()))));
    assert!(said.contains(&("ct/slice-03.dcm".into(), "application/dicom", Some("18748-4".into()))));
}

#[test]
fn the_stray_document_is_caught_by_name() {
    let (_dir, case) = written();
    let seen = survey("referral.xml", &std::fs::read(&case.stray_file).unwrap());
    assert_eq!(seen.checked, Checked::Yes);
    let Likeness::Conflict(why) = identity::check(&seen, &patient(&case)) else { panic!("the stray document passed") };
    assert!(why.contains(case.stray_name), "{why}");
    // Even a case that knows only the patient's number sees it.
    let number_only = PatientOfCase { identifiers: vec![case.patient.clone()], ..PatientOfCase::default() };
    assert!(matches!(identity::check(&seen, &number_only), Likeness::Conflict(_)));
}

#[test]
fn the_images_are_a_series_that_another_reader_reads() {
    let (_dir, case) = written();
    let mut series = Vec::new();
    for number in 1..=5 {
        let object = dicom_object::open_file(case.documents_dir.join(format!("ct/slice-{number:02}.dcm"))).unwrap();
        let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
        assert_eq!(text(tags::PATIENT_NAME), "Õunapuu^Liisu");
        assert_eq!(text(tags::INSTANCE_NUMBER), number.to_string());
        assert_eq!(text(tags::SOP_INSTANCE_UID), object.meta().media_storage_sop_instance_uid().trim_end_matches('\0'));
        let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        assert_eq!(pixels.len(), 256 * 256 * 2);
        series.push((
            text(tags::SERIES_INSTANCE_UID),
            text(tags::STUDY_INSTANCE_UID),
            text(tags::FRAME_OF_REFERENCE_UID),
        ));
    }
    series.dedup();
    assert_eq!(series.len(), 1);
}

#[test]
fn each_letter_is_a_sound_pdf_that_says_it_is_synthetic_on_every_page() {
    let (_dir, case) = written();
    for path in [case.documents_dir.join("discharge-summary.pdf"), case.opinion_file] {
        let bytes = std::fs::read(path).unwrap();
        // One byte is one character, so that offsets stay what they are.
        let text: String = bytes.iter().map(|&b| char::from(b)).collect();
        let table: usize = text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(text[text.char_indices().nth(table).unwrap().0..].starts_with("xref\n0 "));
        let (_, entries) = text.rsplit_once("\nxref\n").unwrap();
        for (number, line) in
            entries.lines().skip(1).take_while(|line| line.ends_with("n ") || line.ends_with("f ")).enumerate().skip(1)
        {
            let at: usize = line[..10].parse().unwrap();
            assert!(bytes[at..].starts_with(format!("{number} 0 obj\n").as_bytes()), "object {number}");
        }
        let mut pages = 0;
        for part in text.split("<< /Length ").skip(1) {
            let (length, rest) = part.split_once(" >>\nstream\n").unwrap();
            let content: String = rest.chars().take(length.parse().unwrap()).collect();
            assert!(rest[content.len()..].starts_with("\nendstream"));
            assert!(content.contains("(SYNTHETIC SAMPLE)") && content.contains("Not for clinical use."));
            assert!(content.contains("Liisu Õunapuu") && content.contains("SK-204188"), "a page without its patient");
            assert!(!content.contains('?') || content.matches('?').count() <= 4, "a character that the font lacks");
            pages += 1;
        }
        assert_eq!(pages, 2);
    }
}

#[test]
fn the_consent_names_patient_recipient_purpose_and_period() {
    let text = sample_case::consent_json(
        &sample_case::patient(),
        &sample_case::EXPERT.id.parse().unwrap(),
        &sample_case::EXPERT.country.parse().unwrap(),
        date(2026, 11, 1),
        date(2027, 11, 1),
    );
    let read = Consent::parse(text.as_bytes()).unwrap();
    assert_eq!(read.patient(), &sample_case::patient());
    assert_eq!(read.recipients().into_iter().map(ToString::to_string).collect::<Vec<_>>(), ["nordhafen"]);
    let consent: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(consent["patient"]["identifier"]["value"], "SK-204188");
    let provision = &consent["provision"];
    assert_eq!(provision["actor"][0]["reference"]["identifier"]["value"], "nordhafen");
    assert_eq!(provision["purpose"][0]["code"], "TREAT");
    assert_eq!(
        (&provision["period"]["start"], &provision["period"]["end"]),
        (&"2026-11-01".into(), &"2027-11-01".into())
    );
}

#[test]
fn a_case_is_never_written_over_another() {
    let (dir, _case) = written();
    assert_eq!(sample_case::write_to(dir.path()).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}
