//! What must hold of a decoder.

use crate::memory::peak_bytes;
use crate::run::Seen;
use crate::source::Source;
use std::fmt::Debug;

/// How values of a type become bytes, and bytes values.
pub struct Codec<T, E> {
    /// The encoder.
    pub encode: fn(&T) -> Vec<u8>,
    /// The decoder.
    pub decode: fn(&[u8]) -> Result<T, E>,
}

/// A decoder, and what it may take.
pub struct Target<'c, T, E> {
    codec: &'c Codec<T, E>,
    /// Makes a checksum good again.
    seal: Option<fn(&mut Vec<u8>)>,
    /// What the decoder may ask for, whatever it reads,
    base: usize,
    /// and for each byte of that.
    each: usize,
}

impl<'c, T: PartialEq + Debug, E: Debug> Target<'c, T, E> {
    /// With the bounds that suit most: it keeps what it reads, in values that are some times as large, and `serde` makes room for
    /// up to 1 MiB of elements that a list says it has.
    #[must_use]
    pub fn new(codec: &'c Codec<T, E>) -> Self {
        Self { codec, seal: None, base: 4 << 20, each: 256 }
    }

    /// Damage is also tried with a good checksum.
    #[must_use]
    pub fn sealed(self, seal: fn(&mut Vec<u8>)) -> Self {
        Self { seal: Some(seal), ..self }
    }

    /// It may hold so many bytes, and for each byte that it reads so many more.
    #[must_use]
    pub fn holds(self, base: usize, each: usize) -> Self {
        Self { base, each, ..self }
    }

    /// The value comes back from its bytes; what is damaged is refused, or taken for a value that comes back from its own.
    pub fn check(&self, source: &mut Source<'_>, seen: &Seen, value: &T) {
        seen.valid();
        let mut bytes = (self.codec.encode)(value);
        let back = self.read(&bytes);
        assert_eq!(back.as_ref().ok(), Some(value), "not what was encoded, but {back:?}");
        source.damage(&mut bytes);
        self.check_damaged(seen, &bytes);
        if let Some(seal) = self.seal {
            seal(&mut bytes);
            self.check_damaged(seen, &bytes);
        }
    }

    /// Any bytes at all.
    pub fn check_damaged(&self, seen: &Seen, bytes: &[u8]) {
        let read = self.read(bytes);
        seen.damaged(read.is_ok());
        if let Ok(value) = read {
            let again = self.read(&(self.codec.encode)(&value));
            assert_eq!(again.as_ref().ok(), Some(&value), "what was taken does not come back, but {again:?}");
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<T, E> {
        let (read, peak) = peak_bytes(|| (self.codec.decode)(bytes));
        let bound = self.base + self.each * bytes.len();
        assert!(peak <= bound, "{peak} bytes were held for {} that were read: {bytes:02x?}", bytes.len());
        read
    }
}
