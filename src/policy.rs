//! The institution's policy: Cedar.
