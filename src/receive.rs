//! The other side: bytes in, verified, stored, recorded, receipt signed.
