//! E0308
//! A bundle becomes delivered by a verified receipt only, not by what a partner sent.
use medseal::records::BundleRecord;
use medseal::statement::receipt::ReceiptText;

fn settle(record: BundleRecord, text: &ReceiptText) -> BundleRecord {
    record.delivered(text, 0)
}

fn main() {}
