//! Names of the log's files.

/// The directory of the log.
pub(crate) const DIR: &str = "log";

pub(crate) fn segment_path(number: u64) -> String {
    format!("{DIR}/{number:016x}.seg")
}

pub(crate) fn index_path(number: u64) -> String {
    format!("{DIR}/{number:016x}.idx")
}

pub(crate) fn spare_path(number: u64) -> String {
    format!("{DIR}/spare-{number:016x}")
}

/// What a file in the log's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Index(u64),
    Spare,
    /// Left by something that was cut short.
    Stray,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        let number = |hex: &str| (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten();
        if let Some(number) = name.strip_suffix(".seg").and_then(number) {
            return Self::Segment(number);
        }
        if let Some(number) = name.strip_suffix(".idx").and_then(number) {
            return Self::Index(number);
        }
        if name.strip_prefix("spare-").and_then(number).is_some() { Self::Spare } else { Self::Stray }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let name = |path: String| Name::parse(path.strip_prefix("log/").unwrap_or_default());
        assert_eq!(name(segment_path(77)), Name::Segment(77));
        assert_eq!(name(index_path(u64::MAX)), Name::Index(u64::MAX));
        assert_eq!(name(spare_path(1)), Name::Spare);
        assert_eq!(Name::parse("0000.seg"), Name::Stray);
    }
}
