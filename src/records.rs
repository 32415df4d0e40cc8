//! What the store holds.
