//! Does a survey see in every sample what the samples' index says of it?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use medseal::bundle::survey::{Checked, Survey, SurveyLimits, Surveyed};

use crate::needs;

/// Path, media type, class, names, birth date, first identifier as `system|value`.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const FHIR: &str = "application/fhir+json";
const CDA: &str = "application/hl7-cda+xml";
const DICOM: &str = "application/dicom";
const HL7: &str = "application/hl7-v2";
const IMAGING: &str = "18748-4";

/// What names a patient; `-` where the document does not say.
const NAMED: &[Row] = &[
    (
        "fhir-synthea/Andy_Schaden_*",
        FHIR,
        "-",
        "Andy Schaden",
        "1932-06-09",
        "https://github.com/synthetichealth/synthea|d630c6ca-046c-470a-8f3a-4dbc3850e7ae",
    ),
    (
        "fhir-synthea/Buster_Hoeger_*",
        FHIR,
        "-",
        "Buster Hoeger",
        "1988-03-16",
        "https://github.com/synthetichealth/synthea|ad2e3fc5-2b5d-4cb9-8d03-9ea0f4ac8423",
    ),
    (
        "fhir-synthea/Darin_Skiles_*",
        FHIR,
        "-",
        "Darin Skiles",
        "1967-01-21",
        "https://github.com/synthetichealth/synthea|31c343e9-5d7f-444e-9be4-56b1a6ec6146",
    ),
    (
        "fhir-ips/Bundle-IPS-examples-Bundle-01.json",
        FHIR,
        "60591-5",
        "Martha DeLarosa",
        "1972-05-01",
        "urn:oid:2.16.840.1.113883.2.4.6.3|574687583",
    ),
    (
        "fhir-ips/Bundle-bundle-minimal.json",
        FHIR,
        "60591-5",
        "Martha DeLarosa",
        "1972-05-01",
        "urn:oid:2.16.840.1.113883.2.4.6.3|574687583",
    ),
    (
        "fhir-oncology/Bundle-mcode-patient-bundle-jenny-m.json",
        FHIR,
        "-",
        "Jenny M",
        "1965-01-01",
        "http://hospital.example.org|MRN1234",
    ),
    (
        "fhir-oncology/ccrr_hdea_content_bundle_example_complete.json",
        FHIR,
        "72134-0",
        "Amy V. Shaw; Amy V. Baxter",
        "1987-02-20",
        "http://hospital.smarthealthit.org|1032702",
    ),
    ("fhir-r4-spec/Bundle-father.json", FHIR, "28655-9", "Eve Everywoman1", "1955-01-06", "-"),
    ("fhir-r4-spec/Bundle-xds.json", FHIR, "-", "John Doe", "1956-05-27", "|MRN"),
    ("ccda/CCD.xml", CDA, "34133-9", "Isabella Jones", "1950-12-19", "urn:oid:1.3.6.1.4.1.16517.1|98765432"),
    (
        "ccda/Discharge_Summary.xml",
        CDA,
        "18842-5",
        "Isabella Jones",
        "2005-05-01",
        "urn:oid:2.16.840.1.113883.19.5.99999.2|998991",
    ),
    (
        "ccda/Operative_Note.xml",
        CDA,
        "11504-8",
        "Isabella Isa Jones",
        "2005-05-01",
        "urn:oid:2.16.840.1.113883.19.5.99999.2|998991",
    ),
    (
        "ccda/Consultation_Note.xml",
        CDA,
        "11488-4",
        "Eve Betterhalf; Eve Everywoman",
        "1975-05-01",
        "urn:oid:2.16.840.1.113883.4.1|444-22-2222",
    ),
    (
        "ccda/Referral_Note.xml",
        CDA,
        "57113-1",
        "Eve Betterhalf; Eve Everywoman",
        "1975-05-01",
        "urn:oid:2.16.840.1.113883.4.1|444222222",
    ),
    (
        "ccda/Diagnostic_Imaging_Report.xml",
        CDA,
        IMAGING,
        "Adam Everyman",
        "1954-11-25",
        "urn:oid:2.16.840.1.113883.19.5|12345",
    ),
    (
        "ccda/Unstructured_Document_*",
        CDA,
        "11490-0",
        "Henry L Levin",
        "1953-03-02",
        "urn:oid:2.16.840.1.113883.4.1|111-00-2330",
    ),
    (
        "ccda/Alice_Newman_health_summary Delegate.xml",
        CDA,
        "34133-9",
        "Alice Jones Newman; Alicia Newman",
        "1970-05-01",
        "urn:oid:2.16.840.1.113883.4.1|T-10118",
    ),
    (
        "ccda/Jeremy_Bates_health_summary.xml",
        CDA,
        "34133-9",
        "Jeremy V Bates",
        "1980-08-01",
        "urn:oid:2.16.840.1.113883.4.1|T-10120",
    ),
    ("hl7v2/LAB-ORU-1.hl7", HL7, "-", "DONALD D DUCK", "1924-10-10", "1|10006579"),
    ("hl7v2/MDM-T02-01.hl7", HL7, "-", "SAMPLE PROSOLV", "1972-12-01", "|987654321"),
    ("hl7v2/ORU-R01-01.hl7", HL7, "-", "Huckleberry Finn", "1963-08-15", "urn:oid:2.16.840.1.114222.4.3.3.5.1.2|14"),
    ("dicom/fileset-tiny-alpha/PT000000/*", DICOM, IMAGING, "Jan Citizen", "-", "|12345678"),
    ("dicom/fileset-tiny-alpha/DICOMDIR", DICOM, "-", "Jan Citizen", "-", "|12345678"),
    ("dicom/cr-ct-77654033/*", DICOM, IMAGING, "Archibald Doe", "-", "|77654033"),
    ("dicom/ct-3slice-512/*", DICOM, IMAGING, "JANCT000", "-", "|99000"),
    ("dicom/ct-series-24x38x3/*", DICOM, IMAGING, "Anonymous", "2006-01-01", "|123456"),
    ("dicom/secondary-capture/*", DICOM, "-", "G Lestrade", "-", "|ID1"),
    ("dicom/sr/reportsi.dcm", DICOM, "-", "First Name Last Name", "-", "-"),
    ("dicom/sr/test-SR.dcm", DICOM, "-", "S R Test", "-", "-"),
    ("dicom/mr/*", DICOM, IMAGING, "MR1 CompressedSamples", "-", "|4MR1"),
    ("dicom/pathology-sm/sm_image.dcm", DICOM, "11526-1", "Patient Test", "1789-05-05", "http://test.org/mrns|AA01"),
    (
        "dicom/pathology-sm/sm_annotations.dcm",
        DICOM,
        IMAGING,
        "Patient Test",
        "1789-05-05",
        "http://test.org/mrns|AA01",
    ),
    ("dicom/dx/dx_image.dcm", DICOM, IMAGING, "AVeryGood Dog", "2014-04-22", "|123456"),
    ("dicom/rt/rtplan.dcm", DICOM, "-", "First mid Last", "-", "|id00001"),
    ("dicom/rt/rtdose.dcm", DICOM, "-", "Firstname Lastname", "-", "|id11111"),
    ("dicom/encapsulated/encapsulated-pdf-levin.dcm", DICOM, "-", "Henry L Levin", "1932-09-24", "|12345"),
    ("dicom/encapsulated/encapsulated-cda-jones.dcm", DICOM, "18842-5", "Isabella Jones", "2005-05-01", "|998991"),
    // Malformed, and still named.
    ("dicom/malformed/rtstruct.dcm", DICOM, "-", "Phantom30sep Test", "1969-12-31", "|tPhantom30sep"),
    ("dicom/malformed/rtplan_truncated.dcm", DICOM, "-", "First mid Last", "-", "|id00001"),
    ("dicom/malformed/badVR.dcm", DICOM, "-", "Firstname Lastname", "-", "|id11111"),
    ("dicom/malformed/MR_truncated.dcm", DICOM, IMAGING, "MR1 CompressedSamples", "-", "|4MR1"),
];

/// What is read and names nobody: path, media type, class.
const NAMELESS: &[(&str, &str, &str)] = &[
    ("fhir-synthea/hospitalInformation1559319163815.json", FHIR, "-"),
    ("fhir-synthea/practitionerInformation1559319163815.json", FHIR, "-"),
    ("fhir-ips/DiagnosticReport-hemoglobin.json", FHIR, "11502-2"),
    ("fhir-ips/ImagingStudy-TII-ImagingStudy-5-1.json", FHIR, IMAGING),
    ("fhir-ips/Observation-pathology-cancer.json", FHIR, "16112-5"),
    ("fhir-oncology/DiagnosticReport-genomics-report-jenny-m.json", FHIR, "51969-4"),
    ("fhir-oncology/DiagnosticReport-us-core-diagnosticreport-lab-jenny-m.json", FHIR, "22637-3"),
    ("fhir-r4-spec/Bundle-lipids.json", FHIR, "24331-1"),
    ("fhir-r4-spec/DiagnosticReport-ultrasound.json", FHIR, "-"),
    ("fhir-r4-spec/DocumentManifest-example.json", FHIR, "-"),
    ("fhir-r4-spec/DocumentReference-example.json", FHIR, "34108-1"),
    ("fhir-r4-spec/ImagingStudy-example.json", FHIR, IMAGING),
    ("dicom/malformed/meta_missing_tsyntax.dcm", DICOM, "-"),
];

/// What is not searched: path, media type, a word of the reason.
const NOT_SEARCHED: &[(&str, &str, &str)] = &[
    ("pdf/*", "application/pdf", "PDF"),
    ("images/*.png", "image/png", "image"),
    ("images/multipage_rgb.tif", "image/tiff", "image"),
    ("images/frame_rgb.jpeg", "image/jpeg", "image"),
    ("xdm/*.zip", "application/zip", "archive"),
    ("*README.md", "text/plain", "plain text"),
];

#[test]
fn every_sample_is_what_its_index_says() {
    let Some(root) = needs::data("samples") else { return };
    let mut samples = survey_all(&root);
    assert!(samples.len() > 120, "{} samples found", samples.len());
    for (pattern, media_type, why) in NOT_SEARCHED.iter().rev() {
        for (path, seen) in take(&mut samples, pattern) {
            assert_eq!(seen.media_type, *media_type, "{path}");
            assert!(matches!(seen.checked, Checked::No(said) if said.contains(why)), "{path}: {:?}", seen.checked);
            assert!(seen.patients.is_empty());
        }
    }
    for (pattern, media_type, class) in NAMELESS {
        for (path, seen) in take(&mut samples, pattern) {
            assert_eq!((seen.media_type, said(seen.class.as_deref())), (*media_type, *class), "{path}");
            assert_eq!((seen.patients.len(), &seen.checked), (0, &Checked::Yes), "{path}");
        }
    }
    for (pattern, media_type, class, names, birth_date, identifier) in NAMED {
        for (path, seen) in take(&mut samples, pattern) {
            let found: Vec<_> = seen
                .patients
                .iter()
                .map(|patient| {
                    let first = patient.identifiers.first();
                    let first = first.map(|first| format!("{}|{}", first.system.as_deref().unwrap_or(""), first.value));
                    let birth_date = said(patient.birth_date.as_deref()).to_owned();
                    (patient.names.join("; "), birth_date, first.unwrap_or("-".into()))
                })
                .collect();
            assert_eq!((seen.media_type, said(seen.class.as_deref())), (*media_type, *class), "{path}");
            assert_eq!(found, [((*names).into(), (*birth_date).into(), (*identifier).into())], "{path}");
            assert_eq!(seen.checked, Checked::Yes, "{path}");
        }
    }
    assert!(samples.is_empty(), "not in the table: {:?}", samples.keys());
}

#[test]
fn a_series_says_its_modality_and_its_study() {
    let Some(root) = needs::data("samples/dicom/cr-ct-77654033") else { return };
    let samples = survey_all(&root);
    let imaging = |path: &str| samples[path].imaging.clone().unwrap();
    assert_eq!(imaging("CT2/17106").modality.as_deref(), Some("CT"));
    assert_eq!(imaging("CR1/6154").modality.as_deref(), Some("CR"));
    assert_eq!(imaging("CT2/17106").series, imaging("CT2/17196").series);
    assert_ne!(imaging("CT2/17106").series, imaging("CR1/6154").series);
    // A scanner's own bytes in the preamble are worth a remark.
    assert_eq!(samples["CT2/17106"].remarks.len(), 1);
}

#[test]
fn a_survey_never_shows_a_person_in_debug_output() {
    let Some(root) = needs::data("samples/ccda") else { return };
    for (path, seen) in survey_all(&root) {
        let text = format!("{seen:?} {:?} {:?}", seen.patients, seen.imaging);
        for patient in &seen.patients {
            let identifiers = patient.identifiers.iter().map(|identifier| &identifier.value);
            for secret in
                patient.names.iter().flat_map(|name| name.split(' ')).map(str::to_owned).chain(identifiers.cloned())
            {
                assert!(secret.len() < 3 || !text.contains(&secret), "{path} shows {secret}");
            }
        }
    }
}

fn said(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// Removes what fits a pattern with at most one `*`; at least one must.
fn take(samples: &mut BTreeMap<String, Surveyed>, pattern: &str) -> Vec<(String, Surveyed)> {
    let fits = |path: &str| match pattern.split_once('*') {
        Some((start, end)) => path.starts_with(start) && path.ends_with(end),
        None => path == pattern,
    };
    let paths: Vec<_> = samples.keys().filter(|path| fits(path)).cloned().collect();
    assert!(!paths.is_empty(), "no sample fits {pattern}");
    paths.into_iter().map(|path| (path.clone(), samples.remove(&path).unwrap())).collect()
}

fn survey_all(root: &Path) -> BTreeMap<String, Surveyed> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(&path).unwrap();
            found.insert(name.clone(), Survey::of(&name, &bytes, SurveyLimits::default()));
        }
    }
    found
}
