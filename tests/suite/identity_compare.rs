//! Is a document's patient the patient of the case? What matches, what a person must confirm, what is refused.

use jiff::civil::date;
use medseal::bundle::identity::{Likeness, PatientOfCase, check, compare};
use medseal::bundle::survey::{PatientSeen, SeenIdentifier, Survey, SurveyLimits};

const MRN: &str = "urn:oid:1.2.3.4";

fn case() -> PatientOfCase {
    PatientOfCase {
        identifiers: vec![format!("{MRN}|4711").parse().expect("an identifier")],
        name: Some("Zoë Müller-Łęcka".to_owned()),
        birth_date: Some(date(1980, 2, 29)),
    }
}

fn seen(system: Option<&str>, value: &str, name: &str, birth_date: &str) -> PatientSeen {
    let identifiers = vec![SeenIdentifier { system: system.map(str::to_owned), value: value.to_owned() }];
    PatientSeen {
        identifiers: identifiers.into_iter().filter(|identifier| !identifier.value.is_empty()).collect(),
        names: [name].iter().filter(|name| !name.is_empty()).map(|name| (*name).to_owned()).collect(),
        birth_date: (!birth_date.is_empty()).then(|| birth_date.to_owned()),
        sex: None,
    }
}

fn one(patient: PatientSeen) -> Likeness {
    compare(&[patient], &case())
}

const NAME: &str = "Zoë Müller-Łęcka";
const BORN: &str = "1980-02-29";

#[test]
fn the_same_number_of_the_same_issuer_is_a_match() {
    assert_eq!(one(seen(Some(MRN), "4711", NAME, BORN)), Likeness::Match);
    assert_eq!(one(seen(Some(MRN), " 4711 ", "", "")), Likeness::Match);
    // An OID is the same issuer with and without its prefix.
    assert_eq!(one(seen(Some("1.2.3.4"), "4711", "", "")), Likeness::Match);
    assert_eq!(one(seen(Some("URN:OID:1.2.3.4"), "4711", "", "")), Likeness::Match);
    // One slip in a name or a date does not make another person.
    assert_eq!(one(seen(Some(MRN), "4711", "Zoe Muller", "1980-02-28")), Likeness::Match);
}

#[test]
fn the_right_number_on_another_persons_document_is_a_conflict() {
    let found = one(seen(Some(MRN), "4711", "Jan Novák", "1955-10-01"));
    assert!(
        matches!(&found, Likeness::Conflict(why) if why.contains("Jan Novák") && why.contains("1955-10-01")),
        "{:?}",
        found.why()
    );
}

#[test]
fn another_number_of_the_same_issuer_is_a_conflict_that_names_the_value() {
    let found = one(seen(Some(MRN), "4712", NAME, BORN));
    assert!(
        matches!(&found, Likeness::Conflict(why) if why.contains("4712") && why.contains(NAME)),
        "{:?}",
        found.why()
    );
}

#[test]
fn a_number_without_issuer_matches_unless_name_or_birth_date_contradict() {
    assert_eq!(one(seen(None, "4711", "", "")), Likeness::Match);
    assert_eq!(one(seen(None, "4711", NAME, BORN)), Likeness::Match);
    assert!(matches!(one(seen(None, "4711", "Jan Novák", BORN)), Likeness::Conflict(_)));
    assert!(matches!(one(seen(None, "4711", NAME, "1980-03-01")), Likeness::Conflict(_)));
}

#[test]
fn another_issuer_with_the_same_name_and_birth_date_is_for_a_person_to_confirm() {
    for name in ["MULLER-LECKA Zoe", "müller łęcka, zoë", "Dr. Zoë Anna Müller-Łęcka", "Zoe\u{308} Mu\u{308}ller-Łęcka"]
    {
        let found = one(seen(Some("urn:oid:9.9"), "X1", name, BORN));
        assert!(
            matches!(&found, Likeness::Unknown(why) if why.contains("other issuer, same name and birth date")),
            "{name}"
        );
    }
}

#[test]
fn another_issuer_with_another_name_or_birth_date_is_a_conflict() {
    for (name, born) in
        [("Jan Novák", BORN), (NAME, "1980-02-28"), ("Zoë Novák", BORN), ("Zoë", "1981-01-01"), (NAME, "1981")]
    {
        assert!(matches!(one(seen(Some("urn:oid:9.9"), "X1", name, born)), Likeness::Conflict(_)), "{name} {born}");
    }
}

#[test]
fn a_part_that_fits_is_never_more_than_unknown() {
    assert!(matches!(one(seen(None, "", NAME, "")), Likeness::Unknown(_)));
    assert!(matches!(one(seen(None, "", "", BORN)), Likeness::Unknown(_)));
    assert!(matches!(one(seen(None, "", NAME, "1980-02")), Likeness::Unknown(_)));
    assert!(matches!(one(seen(None, "", NAME, BORN)), Likeness::Unknown(_)));
}

#[test]
fn nothing_to_compare_is_said_as_such() {
    assert!(matches!(compare(&[], &case()), Likeness::NotChecked(_)));
    assert!(matches!(one(seen(Some("urn:oid:9.9"), "X1", "", "")), Likeness::NotChecked(_)));
    let number_only = PatientOfCase { name: None, birth_date: None, ..case() };
    assert!(matches!(compare(&[seen(Some("urn:oid:9.9"), "X1", NAME, BORN)], &number_only), Likeness::NotChecked(_)));
}

#[test]
fn one_stranger_among_several_patients_is_a_conflict() {
    let patients = [seen(Some(MRN), "4711", NAME, BORN), seen(Some(MRN), "9", "Jan Novák", "1955-10-01")];
    assert!(matches!(compare(&patients, &case()), Likeness::Conflict(_)));
    let patients = [seen(Some(MRN), "4711", NAME, BORN), seen(Some("urn:oid:9.9"), "X1", NAME, BORN)];
    assert!(matches!(compare(&patients, &case()), Likeness::Unknown(_)));
}

#[test]
fn a_match_counts_only_in_a_document_that_was_searched_to_its_end() {
    let whole = r#"{"resourceType":"Patient","identifier":[{"system":"urn:oid:1.2.3.4","value":"4711"}]}"#;
    let survey = |text: &str| Survey::of("a.json", text.as_bytes(), SurveyLimits::default());
    assert_eq!(check(&survey(whole), &case()), Likeness::Match);
    assert!(matches!(check(&survey(&whole.replace("]}", "]")), &case()), Likeness::NotChecked(_)));
    // A stranger is a stranger, even in a document that breaks off after naming them.
    assert!(matches!(check(&survey(&whole.replace("]}", "]").replace("4711", "9")), &case()), Likeness::Conflict(_)));
}

#[test]
fn the_words_never_reach_debug_output() {
    let found = one(seen(Some(MRN), "4712", NAME, BORN));
    assert!(!format!("{found:?} {:?}", case()).contains("4712"));
    assert!(!format!("{:?}", case()).contains("Zo"));
}
