//! E0451
//! A receipt in hand has verified: nothing else makes one.
use medseal::statement::Signed;
use medseal::statement::receipt::{About, Receipt, ReceiptText};

fn forge(text: ReceiptText, signed: Signed, about: About) -> Receipt {
    Receipt { text, signed, about }
}

fn main() {}
