//! The patient's will: FHIR Consent.
