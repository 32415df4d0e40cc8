//! Is a sealed bundle refused whatever was done to it: a bit flipped, a piece moved, dropped, added or exchanged?

use age::secrecy::ExposeSecret;
use medseal::bundle::extract::check_bag;
use medseal::bundle::tar_read::TarLimits;
use medseal::id::BundleId;
use medseal::reason::Reason;
use medseal::seal::{self, Identities};

use crate::bundle_bag::bag;

#[test]
fn every_flipped_bit_that_is_tried_is_refused() {
    let (recipient, identities) = key();
    let mut file = sealed(&recipient, &[7; 66_000]);
    assert_eq!(refusal(&file, &identities), None);
    let header = seal::header_length(&file).expect("a header");
    // Every byte of the header and the nonce, and the last ones; between them a step that meets every place of a block.
    let body = (header + 64..file.len() - 64).step_by(1009);
    for position in (0..header + 64).chain(body).chain(file.len() - 64..file.len()) {
        let bit = 1 << (position % 8);
        file[position] ^= bit;
        let reason = refusal(&file, &identities);
        let refused = if position < header {
            // A changed stanza wraps the file key for somebody else.
            matches!(reason, Some(Reason::Tampered | Reason::WrongKey))
        } else {
            reason == Some(Reason::Tampered)
        };
        assert!(refused, "byte {position} of {}, header {header}: {reason:?}", file.len());
        file[position] ^= bit;
    }
}

#[test]
fn pieces_that_were_moved_dropped_added_or_exchanged_are_refused() {
    let (recipient, identities) = key();
    let file = sealed(&recipient, &[9; 300_000]);
    let start = seal::header_length(&file).expect("a header") + NONCE;
    let chunks: Vec<&[u8]> = file[start..].chunks(CHUNK).collect();
    let again = |order: &[usize]| {
        let mut changed = file[..start].to_vec();
        for number in order {
            changed.extend_from_slice(chunks[*number]);
        }
        changed
    };
    assert_eq!(chunks.len(), 5, "whole chunks and a last one");
    assert_eq!(refusal(&again(&[0, 1, 2, 3, 4]), &identities), None, "unchanged, it is the same file");
    for order in
        [&[0, 1, 2, 3][..], &[1, 2, 3, 4], &[0, 1, 3, 4], &[1, 0, 2, 3, 4], &[0, 0, 1, 2, 3, 4], &[0, 1, 2, 3, 4, 4]]
    {
        assert_eq!(refusal(&again(order), &identities), Some(Reason::Tampered), "chunks {order:?}");
    }
    let other = sealed(&recipient, &[9; 300_000]);
    let (grafted, longer) = ([&file[..start], &other[start..]].concat(), [&file[..], b"x"].concat());
    assert_eq!(refusal(&grafted, &identities), Some(Reason::Tampered), "the payload of another file");
    assert_eq!(refusal(&longer, &identities), Some(Reason::Tampered), "a byte after the end");
}

fn key() -> (String, Identities) {
    let identity = age::x25519::Identity::generate();
    let identities = Identities::parse(identity.to_string().expose_secret()).expect("an identity");
    (identity.to_public().to_string(), identities)
}

fn sealed(recipient: &str, content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = seal::seal(&[recipient.to_owned()], Vec::new()).expect("a recipient");
    writer.write_all(&bag(&BundleId::random(), &[("series.bin", content)])).expect("written");
    writer.finish().expect("sealed").0
}

/// Why a sealed bundle does not open; `None` when it does.
fn refusal(file: &[u8], identities: &Identities) -> Option<Reason> {
    let limits = TarLimits { entries_max: 100, bytes_max: 1 << 30 };
    match seal::open(file, identities) {
        Err(error) => Some(error.reason()),
        Ok(plaintext) => check_bag(plaintext, limits).err().map(|error| error.reason()),
    }
}

const NONCE: usize = 16;
/// A chunk of an age payload: 64 KiB and its tag.
const CHUNK: usize = 65_536 + 16;
