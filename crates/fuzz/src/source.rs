//! Where a target's choices come from.

use crate::any::{Any, Unsuited};
use serde::de::DeserializeOwned;

/// An input's bytes, which are taken one by one. At their end come zeros: every input is long enough.
#[derive(Debug)]
pub struct Source<'a>(&'a [u8]);

/// Numbers at which something ends.
const EDGES: [u64; 12] = [
    1,
    2,
    127,
    250,
    251,
    u8::MAX as u64,
    u16::MAX as u64,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 40,
    u64::MAX - 1,
    u64::MAX,
];

/// Texts that most names may be.
const TEXTS: [&str; 8] = ["a", "orders", "x.y", "default", "s-1", "admin", "ann", "b_2"];

/// Texts that mean something somewhere.
const WORDS: [&str; 10] = [
    "",
    "#",
    "a.*",
    "10.0.0.1:7421",
    "1=a:1",
    "µ",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "\0",
    "a b",
    "/",
];

impl<'a> Source<'a> {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Whether it is so: as often as not.
    pub fn flip(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One time out of so many.
    pub fn one_in(&mut self, count: u8) -> bool {
        self.byte() % count.max(1) == 1
    }

    /// Less than that, and 0 for 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let drawn = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        drawn.checked_rem(bound).unwrap_or(0)
    }

    /// One of them, if there are any.
    pub fn one<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        of.get(self.below(of.len()))
    }

    /// A number: mostly a small one, or one at which something ends.
    pub fn number(&mut self) -> u64 {
        match self.byte() % 8 {
            0..4 => u64::from(self.byte() % 16),
            4 | 5 => self.one(&EDGES).copied().unwrap_or_default(),
            6 => u64::from(self.byte()) << (self.byte() % 64),
            _ => u64::from_le_bytes([(); 8].map(|()| self.byte())),
        }
    }

    /// So many bytes, or fewer.
    pub fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = self.below(len_max + 1);
        (0..len).map(|_| self.byte()).collect()
    }

    /// A text: mostly one that a name may be.
    pub fn text(&mut self) -> String {
        match self.byte() % 32 {
            0 => String::from_utf8_lossy(&self.bytes(40)).into_owned(),
            1 => self.one(&WORDS).copied().unwrap_or_default().to_owned(),
            _ => self.one(&TEXTS).copied().unwrap_or_default().to_owned(),
        }
    }

    /// An encoded protobuf message: fields are drawn one by one, and kept where it can be read with them.
    pub fn fields(&mut self, can_be_read: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut message = Vec::new();
        for _ in 0..self.below(12) {
            let before = message.len();
            self.field(&mut message, 2);
            if !can_be_read(&message) {
                message.truncate(before);
            }
        }
        message
    }

    fn field(&mut self, out: &mut Vec<u8>, depth: u8) {
        let number = (1 + self.byte() % 15) << 3;
        if self.flip() {
            out.push(number);
            return varint(out, self.number());
        }
        let content = match self.byte() % 4 {
            0 => self.bytes(20),
            1 if depth > 0 => {
                let mut fields = Vec::new();
                (0..self.below(4)).for_each(|_| self.field(&mut fields, depth - 1));
                fields
            }
            _ => self.text().into_bytes(),
        };
        out.push(number | 2);
        varint(out, content.len() as u64);
        out.extend(content);
    }

    /// A value of a type that can be read from somewhere: it is read from here, whatever it is made of.
    ///
    /// # Errors
    /// When what was drawn does not suit it: a text that is no name of that kind.
    pub fn any<T: DeserializeOwned>(&mut self) -> Result<T, Unsuited> {
        T::deserialize(&mut Any { source: self, human: false })
    }

    /// The same for formats that people read: addresses, say, are texts there.
    ///
    /// # Errors
    /// As [`Self::any`].
    pub fn any_for_people<T: DeserializeOwned>(&mut self) -> Result<T, Unsuited> {
        T::deserialize(&mut Any { source: self, human: true })
    }
}

/// As protobuf writes numbers.
fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}
