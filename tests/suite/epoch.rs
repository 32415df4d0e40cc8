//! What makes a permit in hand worthless, and what does not?

use medseal::desk::Staff;
use medseal::desk::cases::{self, OpenCase};
use medseal::desk::consents;
use medseal::records::Outcome;

use crate::accounts::Opened;
use crate::site::Pair;

/// A partner can open as many cases as it likes by sending something: that must not stop releases to others.
#[test]
fn a_new_case_makes_no_permit_stale_and_a_withdrawal_does() {
    let mut pair = Pair::ready();
    let consent = pair.consent.parse().expect("an id");
    let hospital = Opened::of(&mut pair.hospital);
    let (gateway, us) = (&hospital.gateway, Staff { uid: 0 });
    let before = gateway.epoch();
    let open = OpenCase {
        patient: "https://st-mary.example/mrn|another".parse().expect("an identifier"),
        partner: pair.institute.id.parse().expect("an id"),
        purpose: "TREAT".parse().expect("a purpose"),
        question: "Operate?".to_owned(),
        name: None,
        birth_date: None,
    };
    let case = hospital.runtime.block_on(cases::open(gateway, us, open)).expect("a case");
    assert_eq!(gateway.epoch(), before);
    hospital.runtime.block_on(consents::withdraw(gateway, us, &consent, "she called")).expect("withdrawn");
    let after = gateway.epoch();
    assert!(after > before);
    // A case that permits may rest on is another matter.
    hospital.runtime.block_on(cases::close(gateway, us, &case, Outcome::Confirmed)).expect("closed");
    assert!(gateway.epoch() > after);
}
