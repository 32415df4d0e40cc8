//! The kind of a document, from its first bytes.
//!
//! Rule: content decides; the name only tells apart what the content leaves open.

use super::{Checked, Surveyed};

/// What a document is, as far as its first bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Dicom,
    Json,
    Xml,
    Hl7v2,
    Pdf,
    Png,
    Jpeg,
    Tiff,
    Gif,
    Bmp,
    Zip,
    Docx,
    Xlsx,
    Pptx,
    Gzip,
    Mp4,
    Rtf,
    Html,
    Csv,
    Text,
    Binary,
}

impl Kind {
    /// The media type (IANA), and why such a document is not searched for names.
    pub(super) fn surveyed(self) -> Surveyed {
        let image = "an image is not searched for names, which may be part of the picture";
        let office = "an office document is not searched for names";
        let text = "plain text is not searched for names";
        let (media_type, why) = match self {
            Self::Dicom => ("application/dicom", "the DICOM header was not read"),
            Self::Json => ("application/json", "JSON that is not FHIR is not searched for names"),
            Self::Xml => ("application/xml", "XML that is not C-CDA is not searched for names"),
            Self::Hl7v2 => ("application/hl7-v2", "the HL7 v2 message was not read"),
            Self::Pdf => ("application/pdf", "a PDF is not searched for names"),
            Self::Png => ("image/png", image),
            Self::Jpeg => ("image/jpeg", image),
            Self::Tiff => ("image/tiff", image),
            Self::Gif => ("image/gif", image),
            Self::Bmp => ("image/bmp", image),
            Self::Zip => ("application/zip", "an archive is not searched for names"),
            Self::Docx => ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", office),
            Self::Xlsx => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", office),
            Self::Pptx => ("application/vnd.openxmlformats-officedocument.presentationml.presentation", office),
            Self::Gzip => ("application/gzip", "a compressed file is not searched for names"),
            Self::Mp4 => ("video/mp4", "a film is not searched for names"),
            Self::Rtf => ("application/rtf", office),
            Self::Html => ("text/html", "a web page is not searched for names"),
            Self::Csv => ("text/csv", "a table is not searched for names"),
            Self::Text => ("text/plain", text),
            Self::Binary => {
                ("application/octet-stream", "the type of the file is not known, so it is not searched for names")
            }
        };
        Surveyed::of(media_type, Checked::No(why))
    }
}

/// Tells the kind from the first bytes; `extension` of its name is in lower case.
pub(super) fn kind(head: &[u8], extension: &str) -> Kind {
    // First, because its preamble may pose as anything else.
    if super::dicom::looks_like(head) {
        return Kind::Dicom;
    }
    for (magic, kind) in MAGIC {
        if head.starts_with(magic) {
            return *kind;
        }
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return office(head, extension).unwrap_or(Kind::Zip);
    }
    if head.get(4..8) == Some(b"ftyp".as_slice()) {
        return Kind::Mp4;
    }
    // Two letters alone would take many a note for a picture; the reserved words are zero in every bitmap.
    if head.starts_with(b"BM") && head.get(6..10) == Some([0; 4].as_slice()) {
        return Kind::Bmp;
    }
    if head.starts_with(b"\xff\xfe<\0") || head.starts_with(b"\xfe\xff\0<") {
        return Kind::Xml;
    }
    let text = head.strip_prefix(BOM).unwrap_or(head).trim_ascii_start();
    if super::hl7v2::looks_like(text) {
        return Kind::Hl7v2;
    }
    if !is_text(head) {
        return if matches!(text.first(), Some(b'{' | b'[')) && extension == "json" {
            Kind::Json
        } else {
            Kind::Binary
        };
    }
    match text.first() {
        Some(b'{' | b'[') => Kind::Json,
        Some(b'<') if is_html(text) => Kind::Html,
        Some(b'<') if matches!(text.get(1), Some(b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z' | b'_')) => Kind::Xml,
        _ if extension == "csv" => Kind::Csv,
        _ => Kind::Text,
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

const MAGIC: &[(&[u8], Kind)] = &[
    (b"%PDF-", Kind::Pdf),
    (b"\x89PNG\r\n\x1a\n", Kind::Png),
    (b"\xff\xd8\xff", Kind::Jpeg),
    (b"II*\0", Kind::Tiff),
    (b"MM\0*", Kind::Tiff),
    (b"II+\0", Kind::Tiff),
    (b"MM\0+", Kind::Tiff),
    (b"GIF87a", Kind::Gif),
    (b"GIF89a", Kind::Gif),
    (b"\x1f\x8b", Kind::Gzip),
    (b"{\\rtf", Kind::Rtf),
];

fn office(head: &[u8], extension: &str) -> Option<Kind> {
    let name_len = usize::from(u16::from_le_bytes([*head.get(26)?, *head.get(27)?]));
    let first_entry = head.get(30..30 + name_len)?;
    if first_entry != b"[Content_Types].xml" {
        return None;
    }
    match extension {
        "docx" => Some(Kind::Docx),
        "xlsx" => Some(Kind::Xlsx),
        "pptx" => Some(Kind::Pptx),
        _ => None,
    }
}

fn is_html(text: &[u8]) -> bool {
    let start = text[..text.len().min(14)].to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// No control characters but white space: UTF-8, or an older 8-bit encoding.
fn is_text(head: &[u8]) -> bool {
    !head.is_empty() && !head.iter().any(|b| matches!(b, 0..=8 | 11 | 14..=26 | 28..=31 | 127))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_and_not_the_name() {
        assert_eq!(kind(b"<html><body>", "pdf"), Kind::Html);
        assert_eq!(kind(b"%PDF-1.7\n", "txt"), Kind::Pdf);
        assert_eq!(kind(b"BMI 24.5, stable", "bmp"), Kind::Text);
        assert_eq!(kind(b"", "pdf"), Kind::Binary);
    }

    #[test]
    fn a_character_cut_in_two_is_still_text() {
        assert_eq!(kind("Größe".as_bytes().split_at(3).0, "txt"), Kind::Text);
    }
}
