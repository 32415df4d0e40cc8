//! Long-lived private keys: the only file that touches them.
