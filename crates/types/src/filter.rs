//! Subjects and the filters that select them: dot-separated words as in AMQP 0-9-1 §3.1.3.3 (topic
//! exchange): `*` stands for exactly one word, `#` for any number of words, none included.

use crate::text;
use std::sync::Arc;
use thiserror::Error;

/// AMQP's short string, and what fits a metric label or a log line.
const BYTES_MAX: usize = 255;

/// Why a subject or a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// Longer than the limit.
    #[error("the {kind} is {bytes} bytes long; the limit is {bytes_max}")]
    TooLong {
        /// "subject" or "filter".
        kind: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A control character.
    #[error("the {kind} {text:?} has a control character: use printable text")]
    Control {
        /// "subject" or "filter".
        kind: &'static str,
        /// As given.
        text: String,
    },
    /// `*` or `#` inside a word.
    #[error(
        "the filter {filter:?} has {word:?}: '*' and '#' stand for whole words, as in 'orders.*.packed' or 'orders.#'"
    )]
    PartialWildcard {
        /// As given.
        filter: String,
        /// The word that mixes.
        word: String,
    },
}

fn check(kind: &'static str, text: &str) -> Result<(), FilterError> {
    if text.len() > BYTES_MAX {
        return Err(FilterError::TooLong { kind, bytes: text.len(), bytes_max: BYTES_MAX });
    }
    if text.chars().any(char::is_control) {
        return Err(FilterError::Control { kind, text: text.to_owned() });
    }
    Ok(())
}

/// A message's routing key: words separated by dots, at most 255 bytes, may be empty. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Checks and wraps a subject.
    ///
    /// # Errors
    /// [`FilterError`] when it is too long or has control characters.
    pub fn parse(subject: &str) -> Result<Self, FilterError> {
        check("subject", subject)?;
        Ok(Self(subject.into()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self("".into())
    }
}

text::checked!(Subject, FilterError);

/// A pattern over subjects, at most 255 bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

impl Filter {
    /// The filter that matches every subject.
    pub const ALL: &'static str = "#";

    /// Checks and wraps a filter.
    ///
    /// # Errors
    /// [`FilterError`] when it is too long, has control characters, or has a wildcard inside a word.
    pub fn parse(filter: &str) -> Result<Self, FilterError> {
        check("filter", filter)?;
        let mixed = filter.split('.').find(|w| w.len() > 1 && w.contains(['*', '#']));
        match mixed {
            Some(word) => {
                Err(FilterError::PartialWildcard { filter: filter.to_owned(), word: word.to_owned() })
            }
            None => Ok(Self(filter.into())),
        }
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches every subject, so that nothing need be compared.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        &*self.0 == Self::ALL
    }

    /// Whether the subject is selected. Runs in O(words of filter × words of subject), without allocation:
    /// a `#` remembers where it began, and on a mismatch the newest `#` takes one more word.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let (filter, subject) = (Words::new(&self.0), Words::new(subject));
        let (mut f, mut s) = (filter, subject);
        let mut retry: Option<(Words<'_>, Words<'_>)> = None;
        loop {
            match (f.first(), s.first()) {
                (Some("#"), _) => {
                    f = f.rest();
                    retry = Some((f, s));
                }
                (Some("*"), Some(_)) => (f, s) = (f.rest(), s.rest()),
                (Some(a), Some(b)) if a == b => (f, s) = (f.rest(), s.rest()),
                (None, None) => return true,
                _ => match retry {
                    Some((after, from)) if from.first().is_some() => {
                        s = from.rest();
                        f = after;
                        retry = Some((after, s));
                    }
                    _ => return false,
                },
            }
        }
    }
}

text::checked!(Filter, FilterError);

/// The words that are left; `None` when the last one is taken. The empty text has no words.
#[derive(Clone, Copy)]
struct Words<'a>(Option<&'a str>);

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self((!text.is_empty()).then_some(text))
    }

    fn first(self) -> Option<&'a str> {
        self.0.map(|t| t.split_once('.').map_or(t, |(word, _)| word))
    }

    fn rest(self) -> Self {
        Self(self.0.and_then(|t| t.split_once('.').map(|(_, rest)| rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, subject: &str) -> bool {
        Filter::parse(filter).unwrap().matches(Subject::parse(subject).unwrap().as_str())
    }

    /// The definition, by recursion: what the loop above must agree with.
    fn model(f: &[&str], s: &[&str]) -> bool {
        match (f.first(), s.first()) {
            (None, None) => true,
            (Some(&"#"), _) => model(&f[1..], s) || (!s.is_empty() && model(f, &s[1..])),
            (Some(a), Some(b)) => (*a == "*" || a == b) && model(&f[1..], &s[1..]),
            _ => false,
        }
    }

    #[test]
    fn star_is_one_word_and_hash_is_any_number() {
        assert!(matches("orders.*.packed", "orders.7.packed"));
        assert!(!matches("orders.*.packed", "orders.packed"));
        assert!(!matches("orders.*", "orders.7.packed"));
        assert!(matches("#", ""));
        assert!(matches("#", "a.b.c"));
        assert!(matches("orders.#", "orders"));
        assert!(matches("#.packed", "packed"));
        assert!(matches("a.#.b.#.c", "a.b.b.x.c"));
        assert!(!matches("a.#.b", "a.b.c"));
        assert!(!matches("*", ""));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
    }

    #[test]
    fn a_wildcard_inside_a_word_is_refused() {
        assert!(matches!(Filter::parse("orders.a*"), Err(FilterError::PartialWildcard { .. })));
        assert!(matches!(Filter::parse("orders.##"), Err(FilterError::PartialWildcard { .. })));
        assert!(matches!(Filter::parse(&"x".repeat(256)), Err(FilterError::TooLong { .. })));
        assert!(matches!(Subject::parse("a\n"), Err(FilterError::Control { .. })));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(
            f in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#"]), 0..7),
            s in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..9),
        ) {
            prop_assert_eq!(matches(&f.join("."), &s.join(".")), model(&f, &s));
        }
    }
}
