//! The staff API.
