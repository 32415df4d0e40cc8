//! The store on disk: sled.
