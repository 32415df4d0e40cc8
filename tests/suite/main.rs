//! The integration tests: one question per file, one binary, so that they link once.

mod asking;
mod consent_sentences;
mod identity_compare;
mod interop_trust;
mod bundle_bag;
mod needs;
mod partner_samples;
mod sample_case;
mod store_conformance;
mod survey_hostile;
mod survey_samples;
mod tls_handshake;
