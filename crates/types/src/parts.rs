//! Bytes that go out one behind the other without being copied together.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in parts: what is small is copied beside its neighbours, what is large is a part of its own and stays where it lies in
/// memory. For vectored writes, to a file or to a connection.
#[derive(Clone, Debug)]
pub struct Parts {
    small: BytesMut,
    /// What lies elsewhere, each with the byte of `small` that comes after it.
    apart: Vec<(usize, Bytes)>,
    apart_bytes: usize,
    apart_bytes_min: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self::apart_from(Self::APART_BYTES_MIN)
    }
}

impl Parts {
    /// From this size on bytes are a part of their own, unless another size is asked for. Below a page, one more part costs about
    /// what the copy does.
    pub const APART_BYTES_MIN: usize = 4 << 10;

    /// No bytes. From `bytes_min` on they will be a part of their own.
    #[must_use]
    pub fn apart_from(bytes_min: usize) -> Self {
        Self { small: BytesMut::new(), apart: Vec::new(), apart_bytes: 0, apart_bytes_min: bytes_min }
    }

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
        if bytes.len() < self.apart_bytes_min {
            self.small.put_slice(bytes);
        } else {
            self.apart.push((self.small.len(), bytes.clone()));
            self.apart_bytes += bytes.len();
        }
    }

    /// Whether there is a part beside the small bytes.
    pub(crate) fn has_apart(&self) -> bool {
        !self.apart.is_empty()
    }

    /// All of it, copied together.
    #[must_use]
    pub fn concat(self) -> Bytes {
        if self.has_apart() { self.take().0.concat().into() } else { self.small.freeze() }
    }

    /// All parts in order, none of them empty; and the small bytes, whose memory may be used again when the parts are gone.
    #[must_use]
    pub fn take(self) -> (Vec<Bytes>, Bytes) {
        let small = self.small.freeze();
        let mut parts = Vec::with_capacity(2 * self.apart.len() + 1);
        in_order(&small, self.apart, &mut parts);
        (parts, small)
    }

    /// Moves all parts to the end of others, in order, none of them empty. What comes next goes on in the same memory.
    pub fn drain_into(&mut self, parts: &mut impl Extend<Bytes>) {
        let small = self.small.split().freeze();
        self.apart_bytes = 0;
        in_order(&small, self.apart.drain(..), parts);
    }
}

fn in_order(small: &Bytes, apart: impl IntoIterator<Item = (usize, Bytes)>, parts: &mut impl Extend<Bytes>) {
    let mut from = 0;
    for (at, apart) in apart {
        if from < at {
            parts.extend(Some(small.slice(from..at)));
        }
        parts.extend(Some(apart));
        from = at;
    }
    if from < small.len() {
        parts.extend(Some(small.slice(from..)));
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

        #[test]
        fn what_is_moved_out_is_what_was_put(
            rounds in proptest::collection::vec(proptest::collection::vec(0_usize..30, 0..9), 1..4)
        ) {
            let (mut parts, mut all, mut plain) = (Parts::apart_from(20), Vec::new(), Vec::new());
            for (n, sizes) in (0_u8..).zip(&rounds) {
                for size in sizes {
                    let bytes = Bytes::from(vec![n; *size]);
                    parts.put(&bytes);
                    plain.extend_from_slice(&bytes);
                }
                parts.drain_into(&mut all);
                prop_assert!(parts.is_empty());
            }
            prop_assert!(all.iter().all(|part: &Bytes| !part.is_empty()));
            prop_assert_eq!(all.concat(), plain);
        }
    }
}
