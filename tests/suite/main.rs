//! The integration tests: one question per file, one binary, so that they link once.

mod age_testkit;
mod asking;
mod bundle_bag;
mod consent_corpus;
mod consent_sentences;
mod decision_gates;
mod decision_monotone;
mod exchange_line;
mod exchange_refusals;
mod exchange_rig;
mod exchange_transfer;
mod hostile_archives;
mod identity_compare;
mod interop_trust;
mod log_export;
mod log_faults;
mod log_home;
mod needs;
mod partner_samples;
mod sample_case;
mod site;
mod store_conformance;
mod survey_hostile;
mod survey_samples;
mod tls_handshake;
mod whole_path;
