//! E0451
//! An answer to a recall in hand has verified: nothing else makes one.
use medseal::statement::Signed;
use medseal::statement::recall::{Recalled, RecalledText};
use medseal::statement::receipt::About;

fn forge(text: RecalledText, signed: Signed, about: About) -> Recalled {
    Recalled { text, signed, about }
}

fn main() {}
