//! E0451
//! A receipt in hand has verified: nothing else makes one.
use medseal::statement::Signed;
use medseal::statement::receipt::{Receipt, ReceiptText};

fn forge(text: ReceiptText, signed: Signed) -> Receipt {
    Receipt { text, signed }
}

fn main() {}
