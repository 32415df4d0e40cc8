//! The integration tests: one question per file, one binary, so that they link once.

mod needs;
mod sample_case;
mod store_conformance;
mod tls_handshake;
