//! The integration tests: one question per file, one binary, so that they link once.

#![allow(clippy::large_stack_arrays, reason = "sample documents of some size, written as they are")]

mod age_testkit;
mod approval_people;
mod asking;
mod bag_properties;
mod bundle_bag;
mod bundle_form;
mod bundle_readers;
mod cli_contract;
mod cli_open;
mod cli_send;
mod consent_corpus;
mod consent_sentences;
mod crash_release;
mod decision_gates;
mod decision_monotone;
mod deploy_files;
mod docs_names;
mod docs_reasons;
mod duplicates;
mod exchange_line;
mod exchange_refusals;
mod exchange_release;
mod exchange_rig;
mod exchange_transfer;
mod hostile_archives;
mod identity_compare;
mod interop_bundle;
mod interop_trust;
mod log_export;
mod log_faults;
mod log_home;
mod needs;
mod partner_samples;
mod people;
mod read_only;
mod sample_case;
mod seal_damage;
mod site;
mod stock_tools_exchange;
mod store_conformance;
mod survey_hostile;
mod survey_samples;
mod tls_handshake;
mod whole_path;
