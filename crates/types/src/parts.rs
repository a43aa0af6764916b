//! Bytes that go out one behind the other without being copied together.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in parts: what is small is copied beside its neighbours, what is large is a part of its own and stays where it lies in
/// memory. For vectored writes, to a file or to a connection.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    small: BytesMut,
    /// What lies elsewhere, each with the byte of `small` that comes after it.
    apart: Vec<(usize, Bytes)>,
    apart_bytes: usize,
}

impl Parts {
    /// From this size on bytes are a part of their own. Below a page, one more part costs about what the copy does.
    pub const APART_BYTES_MIN: usize = 4 << 10;

    /// No bytes, in memory that another one used: [`Self::take`] returns it. Not if somebody still holds some of it, and not if it
    /// is more than `bytes_max`.
    #[must_use]
    pub fn reuse(small: Bytes, bytes_max: usize) -> Self {
        let mut small =
            small.try_into_mut().ok().filter(|small| small.capacity() <= bytes_max).unwrap_or_default();
        small.clear();
        Self { small, ..Self::default() }
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.small.len() + self.apart_bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where small bytes go. Only append: what is there already has its place.
    pub fn small(&mut self) -> &mut BytesMut {
        &mut self.small
    }

    /// Appends bytes that are already in memory.
    pub fn put(&mut self, bytes: &Bytes) {
        if bytes.len() < Self::APART_BYTES_MIN {
            self.small.put_slice(bytes);
        } else {
            self.apart.push((self.small.len(), bytes.clone()));
            self.apart_bytes += bytes.len();
        }
    }

    /// All of it, copied together.
    #[must_use]
    pub fn concat(self) -> Bytes {
        if self.apart.is_empty() { self.small.freeze() } else { self.take().0.concat().into() }
    }

    /// All parts in order, none of them empty; and the small bytes, whose memory may be used again when the parts are gone.
    #[must_use]
    pub fn take(self) -> (Vec<Bytes>, Bytes) {
        let small = self.small.freeze();
        let mut parts = Vec::with_capacity(2 * self.apart.len() + 1);
        let mut from = 0;
        for (at, apart) in self.apart {
            if from < at {
                parts.push(small.slice(from..at));
            }
            parts.push(apart);
            from = at;
        }
        if from < small.len() {
            parts.push(small.slice(from..));
        }
        (parts, small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_what_was_put_in_order_and_their_memory_is_used_again(
            sizes in proptest::collection::vec(prop_oneof![0usize..9, 4_000usize..4_200], 0..9)
        ) {
            let mut memory = Bytes::new();
            for _ in 0..2 {
                let (mut parts, mut plain) = (Parts::reuse(memory, 1 << 20), Vec::new());
                for (n, size) in (0_u8..).zip(&sizes) {
                    parts.small().put_u8(n);
                    plain.push(n);
                    let bytes = Bytes::from(vec![n; *size]);
                    parts.put(&bytes);
                    plain.extend_from_slice(&bytes);
                    prop_assert_eq!(parts.len(), plain.len());
                }
                prop_assert_eq!(parts.clone().concat(), plain.clone());
                let (all, small) = parts.take();
                prop_assert!(all.iter().all(|part| !part.is_empty()));
                prop_assert_eq!(all.concat(), plain);
                memory = small;
            }
        }
    }
}
