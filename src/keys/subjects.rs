//! The secret under which everything that names a patient is stored.
//!
//! Rule: it never leaves this type; others get values derived from it, each under a label of its own.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::id::random_bytes;

const MAC_DOMAIN: &[u8] = b"medseal-subjects-mac-v1\0";
const DERIVE_DOMAIN: &[u8] = b"medseal-subjects-derive-v1\0";

/// 32 secret bytes: names the subjects' files by keyed digest and wraps their keys.
pub struct SubjectsKey(Zeroizing<[u8; 32]>);

impl SubjectsKey {
    /// Draws a new one.
    pub fn random() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    pub(super) const fn from_secret(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// HMAC-SHA256 of `bytes`, apart for each label.
    pub fn mac(&self, label: &str, bytes: &[u8]) -> [u8; 32] {
        self.hmac(MAC_DOMAIN, label, bytes)
    }

    /// A key of its own for each label, apart from every value of [`SubjectsKey::mac`].
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut derived = self.hmac(DERIVE_DOMAIN, label, &[]);
        let key = Zeroizing::new(derived);
        derived.zeroize();
        key
    }

    fn hmac(&self, domain: &[u8], label: &str, bytes: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes a key of any length");
        mac.update(domain);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        mac.update(&u64::try_from(label.len()).expect("a length fits").to_be_bytes());
        mac.update(label.as_bytes());
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SubjectsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectsKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_bytes_are_kept_apart() {
        let key = SubjectsKey(Zeroizing::new([3; 32]));
        assert_eq!(key.mac("ab", b"c"), key.mac("ab", b"c"));
        assert_ne!(key.mac("ab", b"c"), key.mac("a", b"bc"));
        assert_ne!(key.mac("ab", b""), *key.derive("ab"));
        assert_ne!(key.mac("ab", b"c"), SubjectsKey::random().mac("ab", b"c"));
        assert_eq!(format!("{key:?}"), "SubjectsKey(hidden)");
    }
}
