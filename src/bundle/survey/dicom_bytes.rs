//! The bytes of a DICOM data set (PS3.5, section 7): tags, representations, lengths.
//!
//! Rule: a length is believed only as far as there are bytes, and every step forward is one.

/// Group and element in one number.
pub(super) type Tag = u32;

/// Why reading ended.
pub(super) enum End {
    Whole,
    Early,
    Deflated,
    Broken,
    Deep,
}

/// How a data set is written.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big: bool,
}

impl Encoding {
    pub(super) const EXPLICIT: Self = Self { explicit: true, big: false };
    pub(super) const IMPLICIT: Self = Self { explicit: false, big: false };

    /// The encoding of a data set that stands alone, from its first element; `None` when it is no data set.
    pub(super) fn guess(bytes: &[u8]) -> Option<Self> {
        let start = bytes.get(..8)?;
        let (group, big) = match (start[0], start[1]) {
            (2 | 8, 0) => (start[0], false),
            (0, 8) => (8, true),
            _ => return None,
        };
        let element = if big { [start[3], start[2]] } else { [start[2], start[3]] };
        // The first element of a data set stands low in its group: length, character set, type, class.
        if element[1] != 0 || element[0] > 0x18 || (group == 2 && element[0] > 3) {
            return None;
        }
        if is_vr([start[4], start[5]]) {
            return Some(Self { explicit: true, big });
        }
        let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
        (!big && length <= 256 && length % 2 == 0).then_some(Self::IMPLICIT)
    }

    pub(super) fn of_syntax(uid: &str) -> Option<Self> {
        match uid {
            "1.2.840.10008.1.2" => Some(Self::IMPLICIT),
            "1.2.840.10008.1.2.2" => Some(Self { explicit: true, big: true }),
            "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205" => None,
            // Every other transfer syntax writes its header like explicit VR little endian.
            _ => Some(Self::EXPLICIT),
        }
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

fn is_vr(vr: [u8; 2]) -> bool {
    VRS_SHORT.contains(&vr) || VRS_LONG.contains(&vr)
}

pub(super) const VRS_SHORT: &[[u8; 2]] = &[
    *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"PN", *b"SH",
    *b"SL", *b"SS", *b"ST", *b"TM", *b"UI", *b"UL", *b"US",
];
pub(super) const VRS_LONG: &[[u8; 2]] =
    &[*b"OB", *b"OD", *b"OF", *b"OL", *b"OV", *b"OW", *b"SQ", *b"SV", *b"UC", *b"UN", *b"UR", *b"UT", *b"UV"];

pub(super) const UNDEFINED: u32 = u32::MAX;
pub(super) const ITEM: Tag = 0xfffe_e000;
pub(super) const ITEM_END: Tag = 0xfffe_e00d;
pub(super) const SEQUENCE_END: Tag = 0xfffe_e0dd;
pub(super) const PIXELS: &[Tag] = &[0x7fe0_0008, 0x7fe0_0009, 0x7fe0_0010];
pub(super) const ENCAPSULATED_DOCUMENT: Tag = 0x0042_0011;

/// A position in the head.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) encoding: Encoding,
}

pub(super) struct Element {
    pub(super) tag: Tag,
    pub(super) vr: [u8; 2],
    pub(super) length: u32,
}

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], End> {
        let part = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end)).ok_or(End::Early)?;
        self.at += count;
        Ok(part)
    }

    pub(super) fn u16(&mut self) -> Result<u16, End> {
        let bytes = self.take(2)?;
        Ok(self.encoding.u16([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, End> {
        let bytes = self.take(4)?;
        Ok(self.encoding.u32([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn element(&mut self) -> Result<Element, End> {
        let tag = Tag::from(self.u16()?) << 16 | Tag::from(self.u16()?);
        if tag >> 16 == 0xfffe || !self.encoding.explicit {
            return Ok(Element { tag, vr: *b"  ", length: self.u32()? });
        }
        let vr = self.take(2)?;
        let vr = [vr[0], vr[1]];
        let length = if VRS_SHORT.contains(&vr) {
            u32::from(self.u16()?)
        } else if VRS_LONG.contains(&vr) || vr.iter().all(u8::is_ascii_uppercase) {
            // A value representation of a later edition has the long form.
            self.take(2)?;
            self.u32()?
        } else {
            // Some writers leave the representation blank; the short form is what they mean.
            u32::from(self.u16()?)
        };
        Ok(Element { tag, vr, length })
    }
}
