//! Strict one-line JSON: what is hashed and signed.
