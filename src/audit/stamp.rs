//! Time stamps of an authority outside, over the bytes of a signed note: RFC 3161.
//!
//! Rule: an answer is kept only if it is about a note that we asked for. Whether its authority is to be believed is for
//! whoever verifies it, with stock tools and with certificates of his own choice.

mod der;

use self::der::Der;
use crate::clock::Timestamp;
use crate::id::Digest;

/// The longest answer of an authority, in bytes.
pub const STAMP_BYTES_MAX: usize = 64 * 1024;

/// What an answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamped {
    /// SHA-256 of what was stamped.
    pub imprint: Digest,
    /// When, by the authority's clock.
    pub at: Timestamp,
}

/// Why an answer is not kept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// It is no answer of this form.
    #[error("not an answer of a time stamp authority: {0}")]
    Form(&'static str),
    /// The authority did not stamp.
    #[error("the authority refused, with status {0}")]
    Refused(u8),
    /// It stamped with another digest than was asked for.
    #[error("the answer is not about a SHA-256")]
    Algorithm,
}

/// What an authority is asked: a stamp over a note, with the authority's certificates in it. There is no nonce: an older
/// answer about the same bytes would only show an earlier time.
pub fn request(note: &[u8]) -> Vec<u8> {
    let imprint = der::sequence(&[&SHA_256, &der::value(der::OCTETS, Digest::of(note).as_bytes())]);
    der::sequence(&[&der::value(der::INTEGER, &[1]), &imprint, &der::value(der::BOOLEAN, &[0xff])])
}

/// Reads an answer. Its signature is not looked at.
pub fn read(answer: &[u8]) -> Result<Stamped, StampError> {
    let bad = StampError::Form;
    if answer.len() > STAMP_BYTES_MAX {
        return Err(bad("it is too long"));
    }
    let mut whole = Der(answer);
    let mut response = Der(whole.take(der::SEQUENCE)?);
    whole.end()?;
    let mut status = Der(response.take(der::SEQUENCE)?);
    match status.take(der::INTEGER)? {
        // Granted, and granted with changes: what was changed shows below.
        [0 | 1] => {}
        [status] => return Err(StampError::Refused(*status)),
        _ => return Err(bad("its status is malformed")),
    }
    let mut token = Der(response.take(der::SEQUENCE)?);
    response.end()?;
    if token.take(der::OID)? != SIGNED_DATA {
        return Err(bad("it holds no signed data"));
    }
    let mut explicit = Der(token.take(der::EXPLICIT_0)?);
    let mut signed = Der(explicit.take(der::SEQUENCE)?);
    signed.take(der::INTEGER)?;
    signed.take(der::SET)?;
    let mut content = Der(signed.take(der::SEQUENCE)?);
    if content.take(der::OID)? != TST_INFO {
        return Err(bad("what is signed is no time stamp"));
    }
    let mut octets = Der(content.take(der::EXPLICIT_0)?);
    let mut stamped = Der(octets.take(der::OCTETS)?);
    let mut info = Der(stamped.take(der::SEQUENCE)?);
    stamped.end()?;
    if info.take(der::INTEGER)? != [1] {
        return Err(bad("its version is another one"));
    }
    info.take(der::OID)?;
    let mut imprint = Der(info.take(der::SEQUENCE)?);
    let algorithm = imprint.take(der::SEQUENCE)?;
    let digest = imprint.take(der::OCTETS)?;
    imprint.end()?;
    info.take(der::INTEGER)?;
    let at = read_time(info.take(der::GENERALIZED_TIME)?).ok_or(bad("its time is malformed"))?;
    // Some leave out the absent parameters of the algorithm.
    if algorithm != SHA_256_WITH_NULL && algorithm != SHA_256_ALONE {
        return Err(StampError::Algorithm);
    }
    let digest = digest.try_into().map_err(|_| StampError::Algorithm)?;
    Ok(Stamped { imprint: Digest::from_bytes(digest), at })
}

/// `YYYYMMDDhhmmss`, perhaps a fraction, and `Z`.
fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let part = |range| whole.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    let (day, time) = ([part(0..4), part(4..6), part(6..8)], [part(8..10), part(10..12), part(12..14)]);
    format!("{}T{}.{fraction}Z", day.join("-"), time.join(":")).parse().ok()
}

/// The algorithm identifier of SHA-256 with its NULL, as a whole.
const SHA_256: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];

/// Its content.
const SHA_256_WITH_NULL: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
const SHA_256_ALONE: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";

/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// 1.2.840.113549.1.9.16.1.4
const TST_INFO: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of this content, with everything around it that is not looked at left out.
    fn answer(status: u8, info: &[u8]) -> Vec<u8> {
        let value = der::value;
        let octets = value(der::EXPLICIT_0, &value(der::OCTETS, info));
        let content = der::sequence(&[&value(der::OID, TST_INFO), &octets]);
        let signed = der::sequence(&[&value(der::INTEGER, &[3]), &value(der::SET, &[]), &content]);
        let token = der::sequence(&[&value(der::OID, SIGNED_DATA), &value(der::EXPLICIT_0, &signed)]);
        der::sequence(&[&der::sequence(&[&value(der::INTEGER, &[status])]), &token])
    }

    fn info(algorithm: &[u8], digest: &[u8], time: &str) -> Vec<u8> {
        let imprint = der::sequence(&[algorithm, &der::value(der::OCTETS, digest)]);
        der::sequence(&[
            &der::value(der::INTEGER, &[1]),
            &der::value(der::OID, &[0x2a, 3]),
            &imprint,
            &der::value(der::INTEGER, &[7]),
            &der::value(der::GENERALIZED_TIME, time.as_bytes()),
        ])
    }

    #[test]
    fn an_answer_says_what_was_stamped_and_when() {
        let imprint = Digest::of(b"note");
        for (time, says) in
            [("20261123080000Z", "2026-11-23T08:00:00Z"), ("20261123080000.25Z", "2026-11-23T08:00:00.25Z")]
        {
            let stamped = read(&answer(0, &info(&SHA_256, imprint.as_bytes(), time))).unwrap();
            assert_eq!(stamped, Stamped { imprint, at: says.parse().unwrap() });
        }
        let refused = der::sequence(&[&der::sequence(&[&der::value(der::INTEGER, &[2])])]);
        assert_eq!(read(&refused), Err(StampError::Refused(2)));
        let short = info(&SHA_256, &imprint.as_bytes()[..20], "20261123080000Z");
        assert_eq!(read(&answer(0, &short)), Err(StampError::Algorithm));
        let other = info(&der::sequence(&[&der::value(der::OID, &[0x2b])]), imprint.as_bytes(), "20261123080000Z");
        assert_eq!(read(&answer(0, &other)), Err(StampError::Algorithm));
        for time in ["20261123080000", "2026112308000Z", "20261323080000Z", "20261123080000.Z", "2026112308000aZ"] {
            assert!(read(&answer(0, &info(&SHA_256, imprint.as_bytes(), time))).is_err(), "{time}");
        }
    }

    #[test]
    fn nothing_that_is_cut_off_or_longer_is_an_answer() {
        let whole = answer(0, &info(&SHA_256, Digest::of(b"note").as_bytes(), "20261123080000Z"));
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(read(&longer).is_err());
        // A length in more bytes than it needs is not the one form.
        let mut long_form = whole.clone();
        long_form.splice(1..2, [0x81, whole[1]]);
        assert!(whole[1] < 0x80 && read(&long_form).is_err());
    }
}
