//! Codes of a cover sheet in words that a person knows.
//!
//! Rule: a word stands beside its code or means exactly it; what has no word here is shown as it is.

use crate::bundle::document::ConfidentialityCode;

/// The name of a document class (LOINC).
pub fn class(code: &str) -> Option<&'static str> {
    Some(match code {
        "11488-4" => "Consultation note",
        "11502-2" => "Laboratory report",
        "11504-8" => "Operation note",
        "11506-3" => "Progress note",
        "11526-1" => "Pathology report",
        "18725-2" => "Microbiology report",
        "18726-0" => "Radiology report",
        "18748-4" => "Diagnostic imaging",
        "18842-5" => "Discharge summary",
        "28570-0" => "Procedure note",
        "34117-2" => "History and physical",
        "34133-9" => "Summary of care",
        "57133-1" => "Referral note",
        "60591-5" => "Patient summary",
        _ => return None,
    })
}

/// The name of a media type that hospitals exchange.
pub(super) fn media_type(media_type: &str) -> &str {
    match media_type {
        "application/dicom" => "DICOM image",
        "application/fhir+json" => "FHIR",
        "application/hl7-cda+xml" | "application/hl7-sda+xml" => "C-CDA",
        "application/pdf" => "PDF",
        "application/zip" => "ZIP archive",
        "image/jpeg" => "JPEG image",
        "image/png" => "PNG image",
        "image/tiff" => "TIFF image",
        "text/plain" => "Text",
        "application/hl7-v2" => "HL7 v2",
        other => other,
    }
}

/// The display names of v3-Confidentiality.
pub(super) const fn label(code: ConfidentialityCode) -> &'static str {
    match code {
        ConfidentialityCode::U => "unrestricted",
        ConfidentialityCode::L => "low",
        ConfidentialityCode::M => "moderate",
        ConfidentialityCode::N => "normal",
        ConfidentialityCode::R => "restricted",
        ConfidentialityCode::V => "very restricted",
    }
}
