//! Which spellings are one name, and which are two? Seen with the same birth date and no common issuer: what is one
//! name is for a person to confirm, what is two names is a conflict, and nothing here is ever a match.

use jiff::civil::date;
use medseal::bundle::identity::{Likeness, PatientOfCase, compare};
use medseal::bundle::survey::{PatientSeen, SeenIdentifier};
use proptest::prelude::*;

const BORN: &str = "1980-02-29";

fn case(name: &str) -> PatientOfCase {
    PatientOfCase {
        identifiers: vec!["urn:oid:1.2.3.4|4711".parse().expect("an identifier")],
        name: Some(name.to_owned()),
        birth_date: Some(date(1980, 2, 29)),
    }
}

fn seen(name: &str) -> PatientSeen {
    PatientSeen { names: vec![name.to_owned()], birth_date: Some(BORN.to_owned()), ..PatientSeen::default() }
}

fn one_name(a: &str, b: &str) -> bool {
    match compare(&[seen(a)], &case(b)) {
        Likeness::Unknown(_) => true,
        Likeness::Conflict(_) => false,
        other => panic!("{a}, {b}: a name decided: {other:?}"),
    }
}

#[test]
fn these_are_spellings_of_one_name() {
    for (a, b) in [
        // Case, order, punctuation, DICOM's components.
        ("MÜLLER Zoë", "Zoë Müller"),
        ("Müller, Zoë", "Zoë Müller"),
        ("O’Brien Sean", "Sean O'Brien"),
        // Accents, composed or not.
        ("Jose\u{301} García", "Jose Garcia"),
        ("Liisu Õunapuu", "LIISU OUNAPUU"),
        ("Łucja Wałęsa", "Lucja Walesa"),
        ("Đorđe Đurić", "Dorde Duric"),
        // Umlauts as passports write them.
        ("Jürgen Müller", "Juergen Mueller"),
        ("Jürgen Müller", "Jurgen Muller"),
        ("Jörg Groß", "Joerg Gross"),
        ("Åse Sørensen", "Aase Soerensen"),
        // Cyrillic and Greek.
        ("Юлия Щербакова", "Iuliia Shcherbakova"),
        ("Юлия Щербакова", "Yuliya Shcherbakova"),
        ("Сергій Мельник", "Serhii Melnyk"),
        ("Γιώργος Παπαδόπουλος", "Giorgos Papadopoulos"),
        ("ΓΙΩΡΓΟΣ ΠΑΠΑΔΟΠΟΥΛΟΣ", "Γιώργος Παπαδόπουλος"),
        // What is missing on one side.
        ("Dr. Anna Maria Novak", "Anna Novak"),
        ("John F. Kennedy", "John Fitzgerald Kennedy"),
        ("Zoë Müller", "Zoë Müller-Łęcka"),
    ] {
        assert!(one_name(a, b) && one_name(b, a), "{a}, {b}");
    }
}

#[test]
fn these_are_two_names() {
    for (a, b) in [
        ("Anna Novak", "Anna Novok"),
        ("Anna Novak", "Hanna Novak"),
        ("Jan Novák", "Jana Novák"),
        ("Juergen Mueller", "Jurgen Muller"),
        ("Liisu Õunapuu", "Liisu Ounapu"),
        // Both could become Hari.
        ("Гари Иванов", "Хари Иванов"),
        // Й is another letter than и.
        ("Майя Петрова", "Маия Петрова"),
        ("Юлия Щербакова", "Yulia Shcherbatova"),
        ("Anna", "Anna Novak"),
        ("A. B. Novak", "Anna Smith"),
    ] {
        assert!(!one_name(a, b) && !one_name(b, a), "{a}, {b}");
    }
}

fn a_name() -> impl Strategy<Value = String> {
    "[a-cüöéõłюягхйαωA-C'. -]{1,12}".prop_filter("a letter", |name| name.chars().any(char::is_alphabetic))
}

proptest! {
    #[test]
    fn a_name_is_itself_and_both_sides_agree(a in a_name(), b in a_name()) {
        prop_assert!(one_name(&a, &a));
        prop_assert_eq!(one_name(&a, &b), one_name(&b, &a));
    }

    #[test]
    fn no_name_turns_another_number_of_one_issuer_into_anything_but_a_conflict(name in a_name(), ours in a_name()) {
        let other = SeenIdentifier { system: Some("urn:oid:1.2.3.4".to_owned()), value: "4712".to_owned() };
        let patient = PatientSeen { identifiers: vec![other], ..seen(&name) };
        prop_assert!(matches!(compare(&[patient], &case(&ours)), Likeness::Conflict(_)));
    }

    #[test]
    fn what_a_document_adds_about_a_stranger_never_makes_a_match(name in a_name(), ours in a_name(), value in "[0-9]{1,4}") {
        prop_assume!(!one_name(&name, &ours));
        let elsewhere = SeenIdentifier { system: Some("urn:oid:9.9".to_owned()), value };
        let patient = PatientSeen { identifiers: vec![elsewhere], ..seen(&name) };
        prop_assert!(matches!(compare(&[patient], &case(&ours)), Likeness::Conflict(_)));
    }
}
