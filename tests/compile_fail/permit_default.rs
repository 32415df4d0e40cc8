//! E0599
//! There is no permit by default.
use medseal::decision::Permit;

fn main() {
    let _permit = Permit::default();
}
