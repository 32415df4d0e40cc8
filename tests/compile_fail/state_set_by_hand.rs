//! E0616
//! Nobody sets the state of a bundle by hand.
use medseal::records::{BundleRecord, State};

fn settle(record: &mut BundleRecord) {
    record.state = State::Delivered;
}

fn main() {}
