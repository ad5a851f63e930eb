//! The HMAC of frames (`Pyro4/message.py`): SHA-1 over the data and the values of the annotations.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kombu_core::Secret;
use sha1::Sha1;

/// The key that both sides know.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha1>);

impl Key {
    /// The key of a text; none for an empty one.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        // A key may have any length.
        Hmac::new_from_slice(secret.expose().as_bytes()).ok().map(Self)
    }

    /// The code of a frame without other annotations.
    pub(crate) fn sign(&self, data: &[u8]) -> [u8; LENGTH] {
        self.over(data, []).finalize().into_bytes().into()
    }

    /// Whether a code is right, in constant time. `annotations` are all others, in the order of
    /// their names.
    pub(crate) fn verify<'a>(
        &self,
        data: &[u8],
        annotations: impl IntoIterator<Item = &'a [u8]>,
        code: &[u8],
    ) -> bool {
        self.over(data, annotations).verify_slice(code).is_ok()
    }

    fn over<'a>(&self, data: &[u8], annotations: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha1> {
        let mut mac = self.0.clone();
        mac.update(data);
        annotations.into_iter().for_each(|value| mac.update(value));
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The bytes of a code.
pub(crate) const LENGTH: usize = 20;
