//! Reading bytes that somebody else wrote.

use bytes::{Buf, Bytes};
use quorate_types::{Incarnation, LogId, NodeId, Voter};

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end before the thing does.
    #[error("{what} is cut short")]
    Short {
        /// What was being read.
        what: &'static str,
    },
    /// A format that this version does not know.
    #[error("{what} has format {found}, this version reads up to {known}")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version that it claims.
        found: u8,
        /// The newest one known here.
        known: u8,
    },
    /// A tag or flag that has no meaning.
    #[error("{what} has no variant {found}")]
    Variant {
        /// What was being read.
        what: &'static str,
        /// The tag.
        found: u8,
    },
    /// Bytes after the end of the thing.
    #[error("{what} is followed by {bytes} bytes too many")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A text that is no UTF-8, or a membership in which a voter has no address.
    #[error("{what} makes no sense")]
    Invalid {
        /// What was being read.
        what: &'static str,
    },
}

/// A cursor over received bytes that can fail but never panics.
pub(crate) struct Input {
    what: &'static str,
    rest: Bytes,
}

impl Input {
    /// Reads a `what` whose first byte is a version, which must be `known`.
    pub(crate) fn versioned(what: &'static str, bytes: Bytes, known: u8) -> Result<Self, Malformed> {
        let mut input = Self { what, rest: bytes };
        match input.u8()? {
            found if found == known => Ok(input),
            found => Err(Malformed::Version { what, found, known }),
        }
    }

    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        if self.rest.remaining() < bytes { Err(Malformed::Short { what: self.what }) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_u32_le())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.rest.get_u64_le())
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.variant(found)),
        }
    }

    /// The next `len` bytes, without copying.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<Bytes, Malformed> {
        self.need(len)?;
        Ok(self.rest.split_to(len))
    }

    /// How many items of at least `bytes_each` follow. Bounds what a decoder allocates by what it was sent.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| Malformed::Short { what: self.what })?;
        self.need(count.saturating_mul(bytes_each))?;
        Ok(count)
    }

    pub(crate) fn voter(&mut self) -> Result<Voter, Malformed> {
        Ok(Voter { node: NodeId::new(self.u64()?), incarnation: Incarnation::new(self.u64()?) })
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, Malformed> {
        Ok(LogId { term: self.u64()?, index: self.u64()? })
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn variant(&self, found: u8) -> Malformed {
        Malformed::Variant { what: self.what, found }
    }

    pub(crate) fn invalid(&self) -> Malformed {
        Malformed::Invalid { what: self.what }
    }

    /// Everything was read.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        match self.rest.remaining() {
            0 => Ok(()),
            bytes => Err(Malformed::Trailing { what: self.what, bytes }),
        }
    }
}
