//! E0308
//! A bundle becomes recalled by a verified answer only, not by what a partner sent.
use medseal::records::BundleRecord;
use medseal::statement::recall::RecalledText;

fn settle(record: BundleRecord, text: &RecalledText) -> BundleRecord {
    record.recalled(text)
}

fn main() {}
