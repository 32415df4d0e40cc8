//! A small CT series (PS3.3, A.3): a drawn head with a drawn lesion, in whole numbers only.
//!
//! Rule: every attribute that the CT image module requires, in the order of its tag; the same bytes each time.

use sha2::{Digest as _, Sha256};

/// Whose images these are, and of which examination.
pub(super) struct Study<'a> {
    /// Family name, `^`, given name.
    pub(super) name: &'a str,
    pub(super) patient_id: &'a str,
    /// The issuer's OID, without `urn:oid:`.
    pub(super) issuer: &'a str,
    /// `YYYYMMDD`.
    pub(super) born: &'a str,
    pub(super) sex: &'a str,
    pub(super) date: &'a str,
    pub(super) institution: &'a str,
    pub(super) referrer: &'a str,
    pub(super) accession: &'a str,
}

/// How many images the series has.
pub(super) const SLICES: u16 = 5;

const SIDE: u16 = 256;

/// One image of the series, counted from 1, as a DICOM file.
pub(super) fn image(study: &Study<'_>, number: u16) -> Vec<u8> {
    let instance = uid(study, &format!("image {number}"));
    let mut meta = DataSet::default();
    meta.bytes(0x0002_0001, *b"OB", &[0, 1]);
    meta.text(0x0002_0002, *b"UI", CT_IMAGE);
    meta.text(0x0002_0003, *b"UI", &instance);
    meta.text(0x0002_0010, *b"UI", "1.2.840.10008.1.2.1");
    meta.text(0x0002_0012, *b"UI", "2.25.203818560174925718405619371204556671042");
    meta.text(0x0002_0013, *b"SH", "MEDSEAL_SAMPLE");
    let mut group = DataSet::default();
    let length = u32::try_from(meta.0.len()).expect("a file's meta group is short");
    group.bytes(0x0002_0000, *b"UL", &length.to_le_bytes());

    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(group.0);
    file.extend(meta.0);
    file.extend(data_set(study, number, &instance).0);
    file
}

const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

fn data_set(study: &Study<'_>, number: u16, instance: &str) -> DataSet {
    let height = i32::from(number) * 100 - 300;
    let position = decimal(height);
    let mut set = DataSet::default();
    set.text(0x0008_0005, *b"CS", "ISO_IR 192");
    set.text(0x0008_0008, *b"CS", "ORIGINAL\\PRIMARY\\AXIAL");
    set.text(0x0008_0016, *b"UI", CT_IMAGE);
    set.text(0x0008_0018, *b"UI", instance);
    for tag in 0x0008_0020..=0x0008_0023 {
        set.text(tag, *b"DA", study.date);
    }
    for (tag, time) in
        [(0x0008_0030, "073100"), (0x0008_0031, "073215"), (0x0008_0032, "073220"), (0x0008_0033, "073224")]
    {
        set.text(tag, *b"TM", time);
    }
    set.text(0x0008_0050, *b"SH", study.accession);
    set.text(0x0008_0060, *b"CS", "CT");
    set.text(0x0008_0070, *b"LO", "medseal (synthetic)");
    set.text(0x0008_0080, *b"LO", study.institution);
    set.text(0x0008_0090, *b"PN", study.referrer);
    set.text(0x0008_1030, *b"LO", "CT head without contrast (synthetic sample)");
    set.text(0x0008_103e, *b"LO", "Axial 10 mm, drawn phantom");
    set.text(0x0008_1090, *b"LO", "Drawn phantom");
    set.text(0x0010_0010, *b"PN", study.name);
    set.text(0x0010_0020, *b"LO", study.patient_id);
    set.text(0x0010_0021, *b"LO", study.institution);
    let mut issuer = DataSet::default();
    issuer.text(0x0040_0032, *b"UT", study.issuer);
    issuer.text(0x0040_0033, *b"CS", "ISO");
    set.sequence(0x0010_0024, issuer);
    set.text(0x0010_0030, *b"DA", study.born);
    set.text(0x0010_0040, *b"CS", study.sex);
    set.text(0x0010_1010, *b"AS", "037Y");
    set.text(0x0010_4000, *b"LT", "Synthetic sample. The patient is fictional; the image is drawn.");
    set.text(0x0018_0015, *b"CS", "HEAD");
    set.text(0x0018_0050, *b"DS", "10");
    set.text(0x0018_0060, *b"DS", "120");
    set.text(0x0018_1030, *b"LO", "Head routine");
    set.text(0x0018_1151, *b"IS", "200");
    set.text(0x0018_1210, *b"SH", "PHANTOM");
    set.text(0x0018_5100, *b"CS", "HFS");
    set.text(0x0020_000d, *b"UI", &uid(study, "study"));
    set.text(0x0020_000e, *b"UI", &uid(study, "series"));
    set.text(0x0020_0010, *b"SH", "1");
    set.text(0x0020_0011, *b"IS", "2");
    set.text(0x0020_0012, *b"IS", "1");
    set.text(0x0020_0013, *b"IS", &number.to_string());
    set.text(0x0020_0032, *b"DS", &format!("-119.53125\\-119.53125\\{position}"));
    set.text(0x0020_0037, *b"DS", "1\\0\\0\\0\\1\\0");
    set.text(0x0020_0052, *b"UI", &uid(study, "frame of reference"));
    set.text(0x0020_1040, *b"LO", "");
    set.text(0x0020_1041, *b"DS", &position);
    set.text(0x0020_4000, *b"LT", "SYNTHETIC SAMPLE: drawn, not acquired. Not for clinical use.");
    set.number(0x0028_0002, 1);
    set.text(0x0028_0004, *b"CS", "MONOCHROME2");
    set.number(0x0028_0010, SIDE);
    set.number(0x0028_0011, SIDE);
    set.text(0x0028_0030, *b"DS", "0.9375\\0.9375");
    set.number(0x0028_0100, 16);
    set.number(0x0028_0101, 12);
    set.number(0x0028_0102, 11);
    set.number(0x0028_0103, 0);
    set.text(0x0028_1050, *b"DS", "35");
    set.text(0x0028_1051, *b"DS", "90");
    set.text(0x0028_1052, *b"DS", "-1024");
    set.text(0x0028_1053, *b"DS", "1");
    set.text(0x0028_1054, *b"LO", "HU");
    set.bytes(0x7fe0_0010, *b"OW", &pixels(i32::from(number)));
    set
}

/// The picture, row by row, 16 bits a pixel.
fn pixels(slice: i32) -> Vec<u8> {
    let side = i32::from(SIDE);
    let mut bytes = Vec::with_capacity(usize::from(SIDE) * usize::from(SIDE) * 2);
    let mut noise: u32 = 0x9e37_79b9 ^ slice.unsigned_abs();
    for y in 0..side {
        for x in 0..side {
            // The sum of four uniform numbers is near enough to a scanner's noise.
            let mut grain = 0;
            for _ in 0..4 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                grain += i32::try_from(noise >> 29).unwrap_or(0);
            }
            let value = 1024 + hounsfield(x - side / 2, y - side / 2, slice) + (grain - 14) * 2 / 3;
            let stored = u16::try_from(value.clamp(0, 4095)).unwrap_or(0);
            bytes.extend(stored.to_le_bytes());
        }
    }
    bytes
}

/// What is drawn at a point, seen from below: the patient's left is on the right. Higher slices are smaller.
fn hounsfield(x: i32, y: i32, slice: i32) -> i32 {
    let (wide, long) = (84 - 3 * (slice - 3).max(0), 104 - 4 * (slice - 3).max(0));
    let skin = oval(x, y, 0, 0, wide, long);
    if skin > ONE {
        return -1000;
    }
    if oval(x, y, 0, 0, wide - 5, long - 5) > ONE {
        return blend(skin, ONE * 93 / 100, ONE, 30, -60);
    }
    let skull = oval(x, y, 0, 0, wide - 12, long - 12);
    if skull > ONE {
        return 950;
    }
    let cortex = oval(x, y, 0, 0, wide - 24, long - 25);
    // Sulci: the rim of grey matter is folded across its course.
    let (along, across) = if x.abs() * 5 > y.abs() * 4 { (y, x) } else { (x, y) };
    let fold = (along * 2 + (across * 2).rem_euclid(22).abs_diff(11).cast_signed() + slice * 5).rem_euclid(27);
    let mut value = if oval(x, y, 0, 0, wide - 14, long - 14) > ONE {
        8
    } else if cortex > ONE {
        if fold < 4 { 13 } else { 37 }
    } else {
        blend(cortex, ONE * 80 / 100, ONE, 29, 36)
    };
    // The falx, and the thalami beside the middle.
    if x.abs() <= 1 && !(-30..=38).contains(&y) {
        value = 48;
    }
    for side in [-1, 1] {
        if slice <= 3 {
            let deep = oval(x, y, side * 17, 8, 11, 15);
            value = blend(deep, ONE * 70 / 100, ONE, 38, value);
        }
        // The lateral ventricles: front horn and body.
        let front = oval(x - side * (8 + (y + 24).abs() / 5), y, 0, -22, 6, 17);
        let body = oval(x, y, side * (9 + slice), 22, 6, 20);
        for chamber in [front, body] {
            value = blend(chamber, ONE * 60 / 100, ONE, 6, value);
        }
    }
    // The lesion: hypodense, ill-defined, left frontal, largest in the third slice.
    let size = 18 - 3 * (slice - 3).abs();
    let lesion = oval(x, y, 26, -54, size, size - 3);
    blend(lesion, ONE * 55 / 100, ONE * 125 / 100, 19, value)
}

const ONE: i32 = 1000;

/// Below [`ONE`] within the oval around a centre, above it outside.
fn oval(x: i32, y: i32, centre_x: i32, centre_y: i32, half_width: i32, half_height: i32) -> i32 {
    let (x, y) = (x - centre_x, y - centre_y);
    x * x * ONE / (half_width * half_width).max(1) + y * y * ONE / (half_height * half_height).max(1)
}

/// `inner` below `from`, `outer` above `to`, and a straight line between.
fn blend(at: i32, from: i32, to: i32, inner: i32, outer: i32) -> i32 {
    if at <= from {
        inner
    } else if at >= to {
        outer
    } else {
        inner + (outer - inner) * (at - from) / (to - from)
    }
}

/// Tenths of a millimetre as a decimal string.
fn decimal(tenths: i32) -> String {
    format!("{}.{}", tenths / 10, tenths.abs() % 10)
}

/// A UID under 2.25 (ITU-T X.667): a name-based UUID, version 8, from what it stands for.
fn uid(study: &Study<'_>, what: &str) -> String {
    let digest = Sha256::digest(format!("medseal sample\n{}\n{}\n{what}", study.accession, study.patient_id));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

/// Elements in explicit VR little endian.
#[derive(Default)]
struct DataSet(Vec<u8>);

impl DataSet {
    fn text(&mut self, tag: u32, vr: [u8; 2], text: &str) {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if &vr == b"UI" { 0 } else { b' ' });
        }
        self.bytes(tag, vr, &value);
    }

    fn number(&mut self, tag: u32, value: u16) {
        self.bytes(tag, *b"US", &value.to_le_bytes());
    }

    fn sequence(&mut self, tag: u32, item: DataSet) {
        let length = u32::try_from(item.0.len()).expect("an item is short");
        let mut value = vec![0xfe, 0xff, 0x00, 0xe0];
        value.extend(length.to_le_bytes());
        value.extend(item.0);
        self.bytes(tag, *b"SQ", &value);
    }

    fn bytes(&mut self, tag: u32, vr: [u8; 2], value: &[u8]) {
        let [group, element] = [tag >> 16, tag & 0xffff].map(|part| u16::try_from(part).expect("half a tag"));
        self.0.extend(group.to_le_bytes());
        self.0.extend(element.to_le_bytes());
        self.0.extend(vr);
        if matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UT") {
            self.0.extend([0, 0]);
            self.0.extend(u32::try_from(value.len()).expect("an image is small").to_le_bytes());
        } else {
            self.0.extend(u16::try_from(value.len()).expect("a value is short").to_le_bytes());
        }
        self.0.extend(value);
    }
}
