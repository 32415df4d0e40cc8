//! What a witness signs under a checkpoint: C2SP cosignature v1 (type 0x04).
//!
//! Rule: a cosignature says that its maker saw this checkpoint at this time and none that contradicts it; it counts only
//! by a key that the reader chose, and a bad line of such a key condemns the whole note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Checkpoint, NOTE_BYTES_MAX, NoteError, NoteKey, Origin, SIGNATURES_MAX, Signed};
use crate::clock::Timestamp;
use crate::signature::{NoteSigner, verify_note_signature};

/// A witness's public key.
pub type WitnessKey = NoteKey<TYPE_COSIGNATURE>;

/// A verified signature of a witness under a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cosignature {
    /// Whose it is.
    pub key: WitnessKey,
    /// When it was made, by the witness's clock, in seconds since 1970.
    pub time: u64,
}

impl Checkpoint {
    /// Signs it as a witness: one line, with its end. The log's own signature must have been verified.
    pub fn cosign(&self, name: &Origin, signer: &NoteSigner, now: Timestamp) -> String {
        let key = WitnessKey::new(name.clone(), signer.public());
        let time = u64::try_from(now.as_second()).unwrap_or(0);
        let signature = signer.sign(message(time, &self.body()).as_bytes());
        let line = [&key.id()[..], &time.to_be_bytes(), &signature].concat();
        format!("\u{2014} {} {}\n", key.name, STANDARD.encode(line))
    }

    /// The signatures of these witnesses under a note, each witness once. The log's own signature is not looked at.
    pub fn cosignatures(note: &[u8], keys: &[WitnessKey]) -> Result<Vec<Cosignature>, NoteError> {
        let signed = Signed::parse(note)?;
        Self::parse(signed.body)?;
        let mut found: Vec<Cosignature> = Vec::new();
        for (name, id, bytes) in &signed.signatures {
            let Some(key) = keys.iter().find(|key| key.name.as_str() == *name && key.id() == *id) else { continue };
            let refuse = || NoteError::Signature(key.name.clone());
            let (time, signature) = bytes.split_first_chunk::<8>().ok_or_else(refuse)?;
            let (time, signature) = (u64::from_be_bytes(*time), signature.try_into().map_err(|_| refuse())?);
            verify_note_signature(&key.public, message(time, signed.body).as_bytes(), signature)
                .map_err(|_| refuse())?;
            if !found.iter().any(|earlier| earlier.key == *key) {
                found.push(Cosignature { key: key.clone(), time });
            }
        }
        Ok(found)
    }

    /// Those of the lines that name one of these keys: whoever is asked for a signature speaks for nobody else. Nothing is
    /// verified.
    pub fn lines_of(lines: &str, keys: &[WitnessKey]) -> String {
        let names = |line: &str| {
            let mut words = line.strip_prefix("\u{2014} ")?.split(' ');
            let (name, signature) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
            Some(keys.iter().any(|key| key.name.as_str() == name && signature.starts_with(&key.id())))
        };
        lines.split_inclusive('\n').filter(|line| names(line.trim_end_matches('\n')).unwrap_or(false)).collect()
    }

    /// A note with these signature lines added; a line takes the place of an earlier one by the same key. Nothing is
    /// verified.
    pub fn merge(note: &str, lines: &str) -> Result<String, NoteError> {
        let whole = format!("{}\n\n{lines}", body_of(note)?.trim_end_matches('\n'));
        let added = Signed::parse(whole.as_bytes())?;
        let kept = Signed::parse(note.as_bytes())?;
        let mut signatures = kept.signatures;
        signatures.retain(|(name, id, _)| !added.signatures.iter().any(|(n, i, _)| (n, i) == (name, id)));
        for line in added.signatures {
            if !signatures.iter().any(|(name, id, _)| (*name, *id) == (line.0, line.1)) {
                signatures.push(line);
            }
        }
        let lines = signatures.iter().map(|(name, id, signature)| {
            format!("\u{2014} {name} {}\n", STANDARD.encode([&id[..], signature].concat()))
        });
        let merged = format!("{}\n{}", kept.body, lines.collect::<String>());
        if signatures.len() > SIGNATURES_MAX || merged.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form("it has too many signatures"));
        }
        Ok(merged)
    }
}

fn body_of(note: &str) -> Result<&str, NoteError> {
    Ok(Signed::parse(note.as_bytes())?.body)
}

/// What is signed: the time is part of it, the witness's name is not, so that each role has a key of its own.
fn message(time: u64, body: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{body}")
}

const TYPE_COSIGNATURE: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::note::LogKey;
    use crate::id::Digest;

    fn log() -> (Checkpoint, String, LogKey) {
        let signer = NoteSigner::from_seed(&[7; 32]);
        let origin: Origin = "st-mary/medseal/log".parse().unwrap();
        let checkpoint = Checkpoint { origin: origin.clone(), size: 42, root: Digest::of(b"root") };
        let note = checkpoint.sign(&signer);
        (checkpoint, note, LogKey::new(origin, signer.public()))
    }

    fn witness(seed: u8, name: &str) -> (Origin, NoteSigner, WitnessKey) {
        let signer = NoteSigner::from_seed(&[seed; 32]);
        let name: Origin = name.parse().unwrap();
        let key = WitnessKey::new(name.clone(), signer.public());
        (name, signer, key)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_witness_speaks_for_nobody_else() {
        let (checkpoint, note, _) = log();
        let (name, signer, key) = witness(9, "nordhafen/medseal/witness");
        let (other_name, other_signer, other_key) = witness(11, "st-olav/medseal/witness");
        let (own, others) =
            (checkpoint.cosign(&name, &signer, at(7)), checkpoint.cosign(&other_name, &other_signer, at(8)));
        // Its own good line, and a bad one in another's name.
        let spoiled = others.replacen("AAAA", "AAAB", 1);
        let answer = format!("{own}{spoiled}\u{2014} junk\n{}", others.replace('\n', "=\n"));
        let lines = Checkpoint::lines_of(&answer, std::slice::from_ref(&key));
        assert_eq!(lines, own);
        let before = Checkpoint::merge(&note, &others).unwrap();
        let merged = Checkpoint::merge(&before, &lines).unwrap();
        let signed = Checkpoint::cosignatures(merged.as_bytes(), &[key, other_key]).unwrap();
        assert_eq!(signed.len(), 2);
    }

    #[test]
    fn a_witness_signs_time_and_text_as_the_specification_says() {
        let (checkpoint, note, log_key) = log();
        let (name, signer, key) = witness(9, "nordhafen/medseal/witness");
        let line = checkpoint.cosign(&name, &signer, at(1_700_000_000));
        let bytes = STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
        assert_eq!(bytes.len(), 4 + 8 + 64);
        let signed = format!("cosignature/v1\ntime 1700000000\n{}", checkpoint.body());
        let signature: &[u8; 64] = bytes[12..].try_into().unwrap();
        assert_eq!(verify_note_signature(key.public(), signed.as_bytes(), signature), Ok(()));
        let text = key.to_string();
        let kind = STANDARD.decode(text.splitn(3, '+').nth(2).unwrap()).unwrap()[0];
        assert_eq!(kind, 4);
        assert!(text.parse::<LogKey>().is_err() && log_key.to_string().parse::<WitnessKey>().is_err());

        let merged = Checkpoint::merge(&note, &line).unwrap();
        let found = Checkpoint::cosignatures(merged.as_bytes(), std::slice::from_ref(&key)).unwrap();
        assert_eq!(found, [Cosignature { key, time: 1_700_000_000 }]);
        assert_eq!(Checkpoint::open(merged.as_bytes(), &[log_key]), Ok(checkpoint));
    }

    #[test]
    fn a_later_line_of_a_witness_takes_the_place_of_its_earlier_one() {
        let (checkpoint, note, _) = log();
        let (name, signer, key) = witness(9, "nordhafen/medseal/witness");
        let (other_name, other, other_key) = witness(10, "harbour/medseal/witness");
        let keys = [key.clone(), other_key.clone()];
        let mut merged = note;
        for line in [
            checkpoint.cosign(&name, &signer, at(5)),
            checkpoint.cosign(&other_name, &other, at(6)),
            checkpoint.cosign(&name, &signer, at(7)),
        ] {
            merged = Checkpoint::merge(&merged, &line).unwrap();
        }
        let found = Checkpoint::cosignatures(merged.as_bytes(), &keys).unwrap();
        assert_eq!(found, [Cosignature { key: other_key, time: 6 }, Cosignature { key, time: 7 }]);
        for bad in ["", "\n", "no line\n", "\u{2014} a b", "\u{2014} a !!!!\n"] {
            assert!(Checkpoint::merge(&merged, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_cosigned_note_is_refused_or_takes_the_witness_away() {
        let (checkpoint, note, log_key) = log();
        let (name, signer, key) = witness(9, "nordhafen/medseal/witness");
        let note = Checkpoint::merge(&note, &checkpoint.cosign(&name, &signer, at(5))).unwrap().into_bytes();
        let counts = |note: &[u8]| {
            Checkpoint::open(note, std::slice::from_ref(&log_key)).is_ok()
                && Checkpoint::cosignatures(note, std::slice::from_ref(&key)).is_ok_and(|found| !found.is_empty())
        };
        assert!(counts(&note));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut flipped = note.clone();
                flipped[at] ^= 1 << bit;
                assert!(!counts(&flipped), "byte {at} bit {bit}");
            }
        }
        for cut in 0..note.len() {
            assert!(!counts(&note[..cut]), "{cut} bytes");
        }
    }

    #[test]
    fn a_log_cannot_pass_for_a_witness_nor_a_witness_for_a_log() {
        let (checkpoint, note, log_key) = log();
        // The same secret in both roles, under the log's own name: the key ids differ by the type.
        let signer = NoteSigner::from_seed(&[7; 32]);
        let as_witness = WitnessKey::new(log_key.name().clone(), signer.public());
        assert_eq!(Checkpoint::cosignatures(note.as_bytes(), &[as_witness]), Ok(Vec::new()));
        let line = checkpoint.cosign(log_key.name(), &signer, at(5));
        let only = format!("{}\n{line}", checkpoint.body());
        assert_eq!(Checkpoint::open(only.as_bytes(), &[log_key]), Err(NoteError::Unsigned));
    }
}
