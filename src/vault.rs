//! Sealed bundles on disk.
