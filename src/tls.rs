//! Mutual TLS: the only file that builds a TLS configuration.
