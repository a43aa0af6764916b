//! What a binding selects: by subject, and perhaps by headers too, as RabbitMQ's headers exchange does.

use crate::Filter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// Which messages a binding is for: those whose subject the filter matches and, if headers are asked for, that have them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// By subject.
    pub filter: Filter,
    /// By headers; `None`: whatever they are.
    pub headers: Option<HeaderMatch>,
}

impl Selector {
    /// Whether it selects every message, so that nothing need be looked at.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.headers.is_none() && self.filter.matches_all()
    }

    /// Whether it selects a message of that subject with these headers.
    #[must_use]
    pub fn matches<'a>(&self, subject: &str, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
        self.filter.matches(subject) && self.headers.as_ref().is_none_or(|wanted| wanted.matches(headers))
    }
}

impl From<Filter> for Selector {
    fn from(filter: Filter) -> Self {
        Self { filter, headers: None }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt(f)?;
        self.headers.as_ref().map_or(Ok(()), |headers| write!(f, " with {headers}"))
    }
}

/// Headers that a message must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct HeaderMatch {
    rule: MatchRule,
    pairs: BTreeSet<(String, Bytes)>,
}

/// How many of the wanted headers a message must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchRule {
    /// Each of them.
    #[default]
    All,
    /// One of them at least.
    Any,
}

/// Why headers that a message must have were refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderMatchError {
    /// None, or too many.
    #[error(
        "{count} headers are asked for: ask for 1 to {max}, or leave them out to select by subject alone"
    )]
    Count {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name without a byte, or a name or a value with too many.
    #[error("the header {name:?} has a name of {} bytes and a value of {value_bytes}: a name has 1 to {max}, a value at most {max}", name.len())]
    Length {
        /// The name.
        name: String,
        /// Length of the value.
        value_bytes: usize,
        /// The limit of both.
        max: usize,
    },
}

impl HeaderMatch {
    /// Pairs of one match, different ones. Each message that is looked at is compared with all of them.
    pub const PAIRS_MAX: usize = 16;
    /// Bytes of a name, and of a value: what fits a filter. They are replicated state.
    pub const BYTES_MAX: usize = 255;

    /// Checks and takes names with their values.
    ///
    /// # Errors
    /// [`HeaderMatchError`] when there are none, too many, or one is too long.
    pub fn new(
        rule: MatchRule,
        pairs: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<Self, HeaderMatchError> {
        let pairs: BTreeSet<(String, Bytes)> = pairs.into_iter().collect();
        let (count, max) = (pairs.len(), Self::PAIRS_MAX);
        if count == 0 || count > max {
            return Err(HeaderMatchError::Count { count, max });
        }
        let max = Self::BYTES_MAX;
        let fits = |(name, value): &&(String, Bytes)| (1..=max).contains(&name.len()) && value.len() <= max;
        if let Some((name, value)) = pairs.iter().find(|pair| !fits(pair)) {
            let (name, value_bytes) = (name.clone(), value.len());
            return Err(HeaderMatchError::Length { name, value_bytes, max });
        }
        Ok(Self { rule, pairs })
    }

    /// How many of them a message must have.
    #[must_use]
    pub fn rule(&self) -> MatchRule {
        self.rule
    }

    /// Names with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether a message with these headers has what is wanted. Of a name that occurs more than once each value counts.
    fn matches<'a>(&self, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
        // A bit for each pair that was found.
        let (mut found, all) = (0u32, (1u32 << self.pairs.len()) - 1);
        for (name, value) in headers {
            let pairs = (0..).zip(&self.pairs);
            for (bit, _) in pairs.filter(|(_, (wanted, with))| wanted == name && with == value) {
                found |= 1 << bit;
            }
        }
        match self.rule {
            MatchRule::All => found == all,
            MatchRule::Any => found != 0,
        }
    }
}

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            MatchRule::All => "all",
            MatchRule::Any => "any",
        };
        write!(f, "{rule} of")?;
        self.pairs.iter().try_for_each(|(name, value)| write!(f, " {name}={}", value.escape_ascii()))
    }
}

/// As it is written: it is checked again when it is read.
#[derive(Serialize, Deserialize)]
struct Encoded {
    rule: MatchRule,
    pairs: Vec<(String, Bytes)>,
}

impl From<HeaderMatch> for Encoded {
    fn from(HeaderMatch { rule, pairs }: HeaderMatch) -> Self {
        Self { rule, pairs: pairs.into_iter().collect() }
    }
}

impl TryFrom<Encoded> for HeaderMatch {
    type Error = HeaderMatchError;

    fn try_from(Encoded { rule, pairs }: Encoded) -> Result<Self, HeaderMatchError> {
        Self::new(rule, pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(filter: &str, rule: MatchRule, pairs: &[(&str, &str)]) -> Selector {
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), Bytes::copy_from_slice(v.as_bytes())));
        let headers = Some(HeaderMatch::new(rule, pairs).unwrap());
        Selector { filter: Filter::parse(filter).unwrap(), headers }
    }

    fn matches(selector: &Selector, subject: &str, headers: &[(&str, &str)]) -> bool {
        selector.matches(subject, headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn all_wants_each_pair_and_any_wants_one() {
        let pairs = [("kind", "order"), ("land", "at")];
        let (all, any) = (selector("#", MatchRule::All, &pairs), selector("#", MatchRule::Any, &pairs));
        let both = [("land", "at"), ("other", "x"), ("kind", "order")];
        assert!(matches(&all, "a", &both) && matches(&any, "a", &both));
        assert!(!matches(&all, "a", &both[..2]) && matches(&any, "a", &both[..2]));
        let wrong = [("kind", "at"), ("land", "order"), ("Kind", "order"), ("land", "a")];
        assert!(!matches(&all, "a", &wrong) && !matches(&any, "a", &wrong));
        assert!(!matches(&all, "a", &[]) && !matches(&any, "a", &[]));
    }

    #[test]
    fn each_value_of_a_name_counts() {
        let both = selector("#", MatchRule::All, &[("tag", "a"), ("tag", "b")]);
        assert!(matches(&both, "", &[("tag", "b"), ("tag", "c"), ("tag", "a")]));
        assert!(!matches(&both, "", &[("tag", "a"), ("tag", "a")]));
    }

    #[test]
    fn the_subject_is_wanted_too() {
        let wanted = selector("a.*", MatchRule::Any, &[("k", "")]);
        assert!(matches(&wanted, "a.b", &[("k", "")]));
        assert!(!matches(&wanted, "b", &[("k", "")]));
        assert!(!selector("#", MatchRule::Any, &[("k", "")]).matches_all());
        assert!(Selector::from(Filter::parse("#").unwrap()).matches_all());
    }

    #[test]
    fn sixteen_short_pairs_are_the_limit() {
        let pairs = |count: usize| (0..count).map(|n| (n.to_string(), Bytes::new()));
        let sixteen = HeaderMatch::new(MatchRule::All, pairs(16)).unwrap();
        assert!(
            sixteen.matches(pairs(16).map(|(n, _)| n).collect::<Vec<_>>().iter().map(|n| (&**n, &b""[..])))
        );
        assert!(matches!(HeaderMatch::new(MatchRule::All, pairs(17)), Err(HeaderMatchError::Count { .. })));
        assert!(matches!(HeaderMatch::new(MatchRule::All, pairs(0)), Err(HeaderMatchError::Count { .. })));
        let long = "x".repeat(256);
        for (name, value) in [("", ""), (long.as_str(), ""), ("k", long.as_str())] {
            let pair = (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
            let refused = HeaderMatch::new(MatchRule::Any, [pair]);
            assert!(matches!(refused, Err(HeaderMatchError::Length { .. })));
        }
    }

    #[test]
    fn it_says_what_it_wants() {
        let shown = selector("a.#", MatchRule::Any, &[("k", "v"), ("j", "w\n")]).to_string();
        assert_eq!(shown, "a.# with any of j=w\\n k=v");
    }
}
