//! Sealing and opening with age.
