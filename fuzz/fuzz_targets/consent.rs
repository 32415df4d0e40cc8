//! Any bytes as a FHIR Consent: read or refused, never a crash; and what is read never grows by what stands beside it.
#![no_main]

mod asked;

use asked::{Read, dissent, granted};
use libfuzzer_sys::fuzz_target;
use medseal::consent::{Consent, Notice};
use medseal::id::{PatientIdentifier, Purpose};

fuzz_target!(|bytes: &[u8]| {
    drop(Notice::read(bytes));
    let Ok(consent) = Consent::parse(bytes) else { return };
    assert!(!consent.in_words().is_empty(), "what is understood is said");
    let patient = consent.patient().clone();
    let treat: Purpose = "TREAT".parse().expect("a purpose");
    let permits = |consents: Vec<Read>, patient: &PatientIdentifier| granted(consents, patient, &treat, None).is_some();
    let again = || Consent::parse(bytes);

    let alone = permits(vec![again()], &patient);
    assert_eq!(alone, permits(vec![again()], &patient), "the answer depends on the question alone");
    assert_eq!(alone, permits(vec![again(), again()], &patient), "twice is neither more nor less");
    let denied = vec![again(), Consent::parse(dissent(&patient).as_bytes())];
    assert!(!permits(denied, &patient), "a denial overrides");
    let garbage = vec![again(), Consent::parse(b"{}")];
    assert!(!permits(garbage, &patient), "what cannot be understood might deny");
    if let Ok(other) = PatientIdentifier::new(patient.system(), "somebody-else")
        && other != patient
    {
        assert!(!permits(vec![again()], &other), "it is another patient's");
    }
});
