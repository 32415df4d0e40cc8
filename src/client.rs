//! The staff API's client.
