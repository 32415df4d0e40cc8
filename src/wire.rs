//! The exchange protocol: paths, headers, limits; no I/O.
