//! The context of a trace, as it travels in a message's header (W3C Trace Context, level 1).

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Which trace a message belongs to, and which span of it published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// What is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not a traceparent: it is 00-TRACE-SPAN-FLAGS in lower-case hexadecimal digits, 2, 32, 16 and 2 of them, neither id 0"
)]
pub struct TraceParentError;

impl TraceParent {
    /// The name of the header.
    pub const HEADER: &'static str = "traceparent";
    /// Version 00 has so many bytes; later ones may have more.
    const BYTES: usize = 55;

    /// A trace that begins here: both ids from these random bits. Bits that are all 0 are no id, so the lowest is set then.
    #[must_use]
    pub fn begin(trace: [u64; 2], span: u64, sampled: bool) -> Self {
        let mut ids = [0; 16];
        ids[..8].copy_from_slice(&trace[0].to_be_bytes());
        ids[8..].copy_from_slice(&if trace == [0; 2] { 1 } else { trace[1] }.to_be_bytes());
        Self { trace: ids, span: span.max(1).to_be_bytes(), sampled }
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span that is the parent of what comes.
    #[must_use]
    pub fn span(&self) -> [u8; 8] {
        self.span
    }

    /// Whether whoever began the trace wants it recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Reads the value of a header.
    ///
    /// # Errors
    /// [`TraceParentError`].
    pub fn parse(value: &[u8]) -> Result<Self, TraceParentError> {
        let (known, more) = value.split_at_checked(Self::BYTES).ok_or(TraceParentError)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let mut part = || parts.next().ok_or(TraceParentError);
        let version: [u8; 1] = hex(part()?)?;
        let (trace, span, flags) = (hex(part()?)?, hex(part()?)?, hex::<1>(part()?)?);
        // A later version may have more behind a dash; 255 is none.
        let fits = match version {
            [0] => more.is_empty(),
            [255] => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        if !fits || trace == [0; 16] || span == [0; 8] {
            return Err(TraceParentError);
        }
        Ok(Self { trace, span, sampled: flags[0] & 1 == 1 })
    }
}

fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], TraceParentError> {
    if digits.len() != 2 * N {
        return Err(TraceParentError);
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceParentError),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex =
            |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|b| write!(f, "{b:02x}"));
        f.write_str("00-")?;
        hex(f, &self.trace)?;
        f.write_str("-")?;
        hex(f, &self.span)?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_read() {
        let one: TraceParent = ONE.parse().unwrap();
        assert_eq!((one.to_string().as_str(), one.is_sampled()), (ONE, true));
        assert_eq!(one.span(), 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        let begun = TraceParent::begin([0, 0], 0, false);
        assert_eq!(begun.to_string(), "00-00000000000000000000000000000001-0000000000000001-00");
        assert_eq!(begun.to_string().parse(), Ok(begun));
    }

    #[test]
    fn a_later_version_may_have_more_and_this_one_not() {
        let later = format!("{}-what-comes", ONE.replacen("00", "cc", 1));
        assert_eq!(TraceParent::parse(later.as_bytes()), ONE.parse());
        assert_eq!(TraceParent::parse(format!("{ONE}-more").as_bytes()), Err(TraceParentError));
        assert_eq!(TraceParent::parse(later.replacen("01-", "01", 1).as_bytes()), Err(TraceParentError));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "00",
            &ONE[1..],
            &ONE.replacen("00", "ff", 1),
            &ONE.to_uppercase(),
            &ONE.replace("00f067aa0ba902b7", "0000000000000000"),
            &ONE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &ONE.replace('-', "_"),
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(TraceParentError), "{bad}");
        }
    }
}
