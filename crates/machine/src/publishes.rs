//! Publishes to several topics, encoded.
//!
//! An operation to a thousand topics is kept by the gateway, forwarded, written, hashed and given to every replica, and
//! looked into only where it is made and where it is applied. As one piece of bytes it costs a copy each time; as a
//! thousand values with names and lists of their own it would cost more than storing the messages.
//!
//! ```text
//! publish = [topic u8: bytes][flags u8][fragment u32: bytes][largest message u32: bytes][runs u32: bytes][topic][runs]
//! run     = [subject u8: bytes][count u32][subject][options]
//! ```
//! with options as [`MessageOptions`] encodes them. All numbers are little-endian. Flags: 1 creates the topic, 2 is mandatory.

use crate::op::{Publish, PublishRun};
use crate::options::MessageOptions;
use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

const HEAD_BYTES: usize = 14;
const RUN_BYTES: usize = 5;
const CREATE_TOPIC: u8 = 1;
const MANDATORY: u8 = 2;

/// Publishes in their order.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Publishes {
    bytes: Bytes,
    /// How many. Derived, like all that follows.
    count: u64,
    messages: u64,
    fragment_bytes: u64,
}

/// Bytes that are no [`Publishes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the publishes are malformed")]
pub struct Malformed;

/// A [`Publish`], wherever it is.
#[derive(Clone, Copy, Debug)]
pub struct PublishView<'a> {
    /// Where to: a name, but not known to be one that a topic may have.
    pub topic: &'a str,
    /// The messages in order.
    pub runs: Runs<'a>,
    /// As [`Publish::fragment_bytes`].
    pub fragment_bytes: u32,
    /// As [`Publish::message_bytes_max`].
    pub message_bytes_max: u32,
    /// As [`Publish::create_topic`].
    pub create_topic: bool,
    /// As [`Publish::mandatory`].
    pub mandatory: bool,
}

/// Consecutive messages that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunView<'a> {
    /// Their routing key.
    pub subject: &'a str,
    /// How many.
    pub count: u32,
    /// What else is asked for them.
    pub options: MessageOptions,
}

/// Subjects and options of consecutive messages, and how many have each.
#[derive(Clone, Copy, Debug)]
pub enum Runs<'a> {
    /// Of a [`Publish`].
    Plain(&'a [PublishRun]),
    /// One after the other.
    Encoded(&'a [u8]),
    /// A part of others.
    Listed(&'a [RunView<'a>]),
}

impl Publishes {
    /// Encodes publishes.
    #[must_use]
    pub fn new<'a>(publishes: impl IntoIterator<Item = &'a Publish>) -> Self {
        let mut this = Self::default();
        // Names and subjects are checked to be no longer than a byte says, and a publish is far below 4 GiB.
        let byte = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let mut bytes = Vec::new();
        for publish in publishes {
            let mut runs = Vec::new();
            for run in &publish.runs {
                runs.put_u8(byte(run.subject.as_str().len()));
                runs.put_u32_le(run.count);
                runs.put_slice(run.subject.as_str().as_bytes());
                run.options.append(&mut runs);
            }
            bytes.put_u8(byte(publish.topic.as_str().len()));
            let create = if publish.create_topic { CREATE_TOPIC } else { 0 };
            bytes.put_u8(create | if publish.mandatory { MANDATORY } else { 0 });
            bytes.put_u32_le(publish.fragment_bytes);
            bytes.put_u32_le(publish.message_bytes_max);
            bytes.put_u32_le(u32::try_from(runs.len()).unwrap_or(u32::MAX));
            bytes.put_slice(publish.topic.as_str().as_bytes());
            bytes.put_slice(&runs);
            this.note(&publish.view());
        }
        Self { bytes: bytes.into(), ..this }
    }

    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = PublishView<'_>> {
        let mut rest = &self.bytes[..];
        // What does not decode was not taken in.
        std::iter::from_fn(move || next_publish(&mut rest))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Messages in all of them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Length of their fragments of the block.
    #[must_use]
    pub fn fragment_bytes(&self) -> u64 {
        self.fragment_bytes
    }

    /// What bounds them: the messages, or the publishes if there are more of them. One without messages is work, too.
    pub(crate) fn size(&self) -> u64 {
        self.messages().max(self.count())
    }

    /// Bytes that they take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn note(&mut self, publish: &PublishView<'_>) {
        self.count += 1;
        self.messages = self.messages.saturating_add(publish.count());
        self.fragment_bytes += u64::from(publish.fragment_bytes);
    }
}

/// The first of encoded publishes; moves past it. `None` at the end, or where they are malformed.
fn next_publish<'a>(rest: &mut &'a [u8]) -> Option<PublishView<'a>> {
    let ([topic, flags, numbers @ ..], after) = rest.split_first_chunk::<HEAD_BYTES>()?;
    let [f0, f1, f2, f3, m0, m1, m2, m3, runs @ ..] = numbers;
    let (topic, after) = after.split_at_checked(usize::from(*topic))?;
    let (runs, after) = after.split_at_checked(u32::from_le_bytes(*runs) as usize)?;
    *rest = after;
    Some(PublishView {
        topic: std::str::from_utf8(topic).ok()?,
        runs: Runs::Encoded(runs),
        fragment_bytes: u32::from_le_bytes([*f0, *f1, *f2, *f3]),
        message_bytes_max: u32::from_le_bytes([*m0, *m1, *m2, *m3]),
        create_topic: flags & CREATE_TOPIC != 0,
        mandatory: flags & MANDATORY != 0,
    })
}

/// The first of encoded runs; moves past it.
fn next_run<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], u32, MessageOptions)> {
    let ([subject, count @ ..], after) = rest.split_first_chunk::<RUN_BYTES>()?;
    let (subject, mut after) = after.split_at_checked(usize::from(*subject))?;
    let options = MessageOptions::take(&mut after)?;
    *rest = after;
    Some((subject, u32::from_le_bytes(*count), options))
}

impl TryFrom<Bytes> for Publishes {
    type Error = Malformed;

    fn try_from(bytes: Bytes) -> Result<Self, Malformed> {
        let mut this = Self::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let publish = next_publish(&mut rest).ok_or(Malformed)?;
            let mut runs = publish.runs;
            runs.by_ref().for_each(drop);
            if !runs.is_at_end() {
                return Err(Malformed);
            }
            this.note(&publish);
        }
        Ok(Self { bytes, ..this })
    }
}

impl From<Publishes> for Bytes {
    fn from(publishes: Publishes) -> Self {
        publishes.bytes
    }
}

impl fmt::Debug for Publishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PublishView<'_> {
    /// Messages in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.counts().map(u64::from).sum()
    }
}

impl<'a> Runs<'a> {
    /// How many messages each has.
    pub fn counts(mut self) -> impl Iterator<Item = u32> + use<'a> {
        std::iter::from_fn(move || match &mut self {
            Self::Plain(runs) => {
                let (run, rest) = runs.split_first()?;
                *runs = rest;
                Some(run.count)
            }
            Self::Encoded(bytes) => next_run(bytes).map(|(_, count, _)| count),
            Self::Listed(runs) => {
                let (run, rest) = runs.split_first()?;
                *runs = rest;
                Some(run.count)
            }
        })
    }

    /// There are no more, and what there was could be read.
    fn is_at_end(&self) -> bool {
        match self {
            Self::Plain(runs) => runs.is_empty(),
            Self::Encoded(bytes) => bytes.is_empty(),
            Self::Listed(runs) => runs.is_empty(),
        }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = RunView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Plain(runs) => {
                let (run, rest) = runs.split_first()?;
                *runs = rest;
                Some(RunView { subject: run.subject.as_str(), count: run.count, options: run.options })
            }
            Self::Encoded(bytes) => {
                let mut rest = *bytes;
                let (subject, count, options) = next_run(&mut rest)?;
                let subject = std::str::from_utf8(subject).ok()?;
                // Only past what could be read: what is left tells that the rest could not.
                *bytes = rest;
                Some(RunView { subject, count, options })
            }
            Self::Listed(runs) => {
                let (run, rest) = runs.split_first()?;
                *runs = rest;
                Some(*run)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_types::{Subject, TopicName};

    fn publish(topic: &str, runs: &[(&str, u32)], number: u32) -> Publish {
        let run = |(subject, count): &(&str, u32)| PublishRun {
            subject: Subject::parse(subject).unwrap(),
            count: *count,
            options: MessageOptions { priority: u8::from(*count > 2), ..MessageOptions::default() },
        };
        Publish {
            topic: TopicName::parse(topic).unwrap(),
            runs: runs.iter().map(run).collect(),
            fragment_bytes: number,
            message_bytes_max: number / 2,
            create_topic: number % 2 == 1,
            mandatory: number % 3 == 1,
        }
    }

    #[test]
    fn what_is_encoded_is_read_again_with_its_sums() {
        let all = [
            publish("a", &[("x.y", 3), ("", u32::MAX)], u32::MAX),
            publish("b", &[], 4),
            publish(&"c".repeat(200), &[(&"s".repeat(255), 1)], 7),
        ];
        let publishes = Publishes::new(&all);
        let seen: Vec<String> =
            publishes.iter().map(|p| format!("{p:?} {:?}", p.runs.collect::<Vec<_>>())).collect();
        assert_eq!(seen.len(), 3);
        for (found, publish) in publishes.iter().zip(&all) {
            let view = publish.view();
            assert_eq!(found.runs.collect::<Vec<_>>(), view.runs.collect::<Vec<_>>());
            let rest = |p: &PublishView<'_>| {
                (p.topic.to_owned(), p.fragment_bytes, p.message_bytes_max, p.create_topic, p.mandatory)
            };
            assert_eq!(rest(&found), rest(&view));
        }
        assert_eq!(publishes.count(), 3);
        assert_eq!(publishes.messages(), u64::from(u32::MAX) + 4);
        assert_eq!(publishes.fragment_bytes(), u64::from(u32::MAX) + 11);
        assert_eq!(Publishes::try_from(Bytes::from(publishes.clone())), Ok(publishes));
    }

    /// One publish to `a`: its runs as they are.
    fn encoded(runs: &[u8]) -> Bytes {
        let mut bytes = vec![1, 0, 9, 0, 0, 0, 9, 0, 0, 0];
        bytes.put_u32_le(u32::try_from(runs.len()).unwrap());
        bytes.put_u8(b'a');
        bytes.put_slice(runs);
        bytes.into()
    }

    #[test]
    fn a_subject_that_is_no_text_is_refused_wherever_it_is() {
        let (text, no_text) = ([1, 2, 0, 0, 0, b's', 0], [1, 2, 0, 0, 0, 0xFF, 0]);
        assert_eq!(Publishes::try_from(encoded(&text)).map(|publishes| publishes.messages()), Ok(2));
        for runs in [[no_text, text], [text, no_text], [no_text, no_text]] {
            assert_eq!(Publishes::try_from(encoded(&runs.concat())), Err(Malformed));
        }
        assert_eq!(Publishes::try_from(encoded(&no_text)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_wholly(bytes: Vec<u8>, runs: Vec<u8>) {
            for bytes in [Bytes::from(bytes), encoded(&runs)] {
                let Ok(publishes) = Publishes::try_from(bytes) else { continue };
                prop_assert_eq!(publishes.iter().count() as u64, publishes.count());
                prop_assert_eq!(publishes.iter().map(|p| p.count()).sum::<u64>(), publishes.messages());
                for publish in publishes.iter() {
                    let read: u64 = publish.runs.map(|run| u64::from(run.count)).sum();
                    prop_assert_eq!(read, publish.count());
                }
            }
        }
    }
}
