//! Bytes in parts that are kept and handed on.

use crate::Parts;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes that do not change, in one part or several, one behind the other. Clones share them.
#[derive(Clone, Debug)]
pub struct Rope(Inner);

#[derive(Clone, Debug)]
enum Inner {
    /// The common case, which costs what its bytes cost.
    One(Bytes),
    Many {
        parts: Arc<[Bytes]>,
        len: usize,
    },
}

impl Rope {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Inner::One(Bytes::new()))
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::One(bytes) => bytes.len(),
            Inner::Many { len, .. } => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        match &self.0 {
            Inner::One(bytes) => std::slice::from_ref(bytes),
            Inner::Many { parts, .. } => parts,
        }
    }
}

impl Default for Rope {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::One(bytes))
    }
}

impl From<Parts> for Rope {
    fn from(parts: Parts) -> Self {
        if !parts.has_apart() {
            return parts.concat().into();
        }
        let len = parts.len();
        Self(Inner::Many { parts: parts.take().0.into(), len })
    }
}

impl PartialEq for Rope {
    /// Whether the bytes are equal, wherever one part ends and the next begins.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.parts().iter().flatten().eq(other.parts().iter().flatten())
    }
}

impl Eq for Rope {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_and_the_bytes_that_they_make_up_are_equal(
            sizes in proptest::collection::vec(0_usize..30, 0..9)
        ) {
            let mut parts = Parts::apart_from(20);
            for (n, size) in (0_u8..).zip(&sizes) {
                parts.put(&Bytes::from(vec![n; *size]));
            }
            let one = Rope::from(parts.clone().concat());
            let many = Rope::from(parts);
            prop_assert_eq!(one.parts().len(), 1);
            prop_assert_eq!(many.parts().concat(), &one.parts()[0][..]);
            prop_assert_eq!((many.len(), many.is_empty()), (one.len(), one.is_empty()));
            prop_assert_eq!(many == Rope::new(), many.is_empty());
            prop_assert_eq!(many, one);
        }
    }
}
