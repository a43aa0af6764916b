//! The replies that a session got, kept for repeats: encoded, some 15 bytes each, in pages that are rows.

use crate::applied::{Answer, Reply};
use crate::codec;
use quorate_types::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Replies of one page. Each new reply writes its page anew with the next checkpoint: not too many.
const PAGE_REPLIES_MAX: u32 = 64;
/// A page that has reached so many bytes takes no more: with one large reply it still fits a row.
const PAGE_BYTES_MAX: usize = 16 << 10;

/// What the pages of a session have together; beyond, the oldest go before their time. Replies of usual size never reach it:
/// a window of them is some 200 KiB. A consumer that settles in ten thousand ranges at a time, again and again, must not
/// fill every replica.
const BYTES_MAX: usize = 16 << 20;

/// The same for a session that publishes to several topics at a time: some six bytes each, more than a hundred thousand in all,
/// which is more than a publisher has unconfirmed. There may be many publishers.
const PUBLISHED_BYTES_MAX: usize = 1 << 20;

/// Replies to consecutive operations, one after the other, each behind its length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerPage {
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
}

impl AnswerPage {
    fn push(&mut self, reply: &Reply) {
        let mut bytes = Vec::new();
        codec::append(&mut bytes, reply);
        codec::append(&mut self.bytes, &bytes.len());
        self.bytes.extend_from_slice(&bytes);
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        self.count >= PAGE_REPLIES_MAX || self.bytes.len() >= PAGE_BYTES_MAX
    }

    fn get(&self, nth: u64) -> Option<Reply> {
        let mut rest = self.bytes.as_slice();
        for _ in 0..nth {
            let len: usize = codec::take(&mut rest)?;
            rest = rest.get(len..)?;
        }
        let _: usize = codec::take(&mut rest)?;
        codec::take(&mut rest)
    }
}

/// The newest replies of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// By the number of the first operation in each.
    pages: BTreeMap<u64, AnswerPage>,
    /// Of all pages. Derived.
    bytes: usize,
}

impl Answers {
    /// Puts a page back that was stored.
    pub(crate) fn insert(&mut self, first: u64, page: AnswerPage) {
        self.bytes += page.bytes.len();
        if let Some(before) = self.pages.insert(first, page) {
            self.bytes -= before.bytes.len();
        }
    }

    /// By the number of the first operation in each.
    pub(crate) fn pages(&self) -> &BTreeMap<u64, AnswerPage> {
        &self.pages
    }

    /// Keeps the reply to operation `sequence`, the next one, and lets go of those to `sequence - max` and
    /// before, by whole pages, and of more when all are too large. The pages that changed or went are told to `touch`.
    pub(crate) fn push(&mut self, sequence: u64, reply: &Reply, max: u32, mut touch: impl FnMut(u64)) {
        let open = self.pages.last_key_value().filter(|(_, page)| !page.is_full()).map(|(first, _)| *first);
        let first = open.unwrap_or(sequence);
        let page = self.pages.entry(first).or_default();
        let before = page.bytes.len();
        page.push(reply);
        self.bytes += page.bytes.len() - before;
        touch(first);
        let bytes_max = match reply {
            Ok(Answer::PublishedEach { .. } | Answer::Committed { .. }) => PUBLISHED_BYTES_MAX,
            _ => BYTES_MAX,
        };
        while let Some(oldest) = self.pages.first_entry() {
            let newest_in_it = oldest.key() + u64::from(oldest.get().count) - 1;
            let in_window = newest_in_it.saturating_add(u64::from(max)) > sequence;
            if in_window && (self.bytes <= bytes_max || *oldest.key() == first) {
                return;
            }
            touch(*oldest.key());
            self.bytes -= oldest.remove().bytes.len();
        }
    }

    /// The reply to operation `sequence` of a session whose newest is `last`. Older than `max`, or gone because
    /// the replies were large: `DUPLICATE`. The same on every replica: the pages are part of the state.
    pub(crate) fn get(&self, sequence: u64, last: u64, max: u32) -> Reply {
        let in_window = sequence.saturating_add(u64::from(max)) > last;
        let page = self.pages.range(..=sequence).next_back().filter(|_| in_window);
        page.and_then(|(first, page)| page.get(sequence - first)).unwrap_or_else(|| {
            let text = format!(
                "operation {sequence} was done already, and its answer is not kept: only those to the newest {max}, if they are small"
            );
            Err(Refusal::new(Reason::Duplicate, text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::applied::{Appended, SettleResult};
    use quorate_types::LogId;
    use std::collections::BTreeSet;

    fn reply(n: u64) -> Reply {
        match n % 3 {
            0 => Ok(Answer::Purged { messages: n }),
            1 => Ok(Answer::Settled { results: vec![SettleResult { settled: n, stale: 1 }] }),
            _ => Err(Refusal::new(Reason::TopicNotFound, n.to_string())),
        }
    }

    #[test]
    fn every_kept_reply_comes_back_and_older_ones_are_duplicates() {
        let mut answers = Answers::default();
        let mut pages = BTreeSet::new();
        for n in 1..=1_000 {
            answers.push(n, &reply(n), 150, |page| {
                pages.insert(page);
            });
        }
        for n in 851..=1_000 {
            assert_eq!(answers.get(n, 1_000, 150), reply(n));
        }
        for n in [0, 1, 849, 850] {
            assert_eq!(answers.get(n, 1_000, 150).map_err(|r| r.reason), Err(Reason::Duplicate));
        }
        assert!(answers.pages.len() <= 4, "whole pages went");
        assert!(answers.pages.keys().all(|page| pages.contains(page)));
    }

    #[test]
    fn replies_as_large_as_can_be_stay_within_a_bound() {
        let mut answers = Answers::default();
        let results = vec![SettleResult { settled: 0, stale: u64::MAX }; 10_000];
        let reply = Ok(Answer::Settled { results });
        let mut gone = BTreeSet::new();
        for n in 1..=1_000 {
            answers.push(n, &reply, 10_000, |page| {
                gone.insert(page);
            });
        }
        let bytes: usize = answers.pages.values().map(|page| page.bytes.len()).sum();
        assert_eq!(bytes, answers.bytes);
        assert!(bytes <= BYTES_MAX && bytes > BYTES_MAX / 2, "{bytes}");
        assert_eq!(answers.get(1_000, 1_000, 10_000), reply);
        assert_eq!(answers.get(1, 1_000, 10_000).map_err(|r| r.reason), Err(Reason::Duplicate));
        assert!(answers.pages.keys().all(|page| gone.contains(page)));
    }

    #[test]
    fn answers_about_many_topics_take_little_and_are_there_for_a_whole_window() {
        let mut answers = Answers::default();
        let reply = |n: u64| {
            let outcomes =
                vec![
                    Ok(Appended { first_offset: 60_000 + n, count: 1, routed: 1, duplicate_of: None });
                    1_000
                ];
            Ok(Answer::PublishedEach { outcomes, log_id: LogId { term: 9, index: 1 << 40 } })
        };
        (1..=1_000).for_each(|n| answers.push(n, &reply(n), 10_000, |_| {}));
        assert!(answers.bytes <= PUBLISHED_BYTES_MAX, "{}", answers.bytes);
        assert_eq!(
            answers.get(901, 1_000, 10_000),
            reply(901),
            "a hundred thousand messages before the newest"
        );
    }

    #[test]
    fn a_page_of_large_replies_stays_small() {
        let mut answers = Answers::default();
        let results = vec![SettleResult { settled: 1_000, stale: 0 }; 4_000];
        (1..=20)
            .for_each(|n| answers.push(n, &Ok(Answer::Settled { results: results.clone() }), 100, |_| {}));
        assert!(answers.pages.values().all(|page| page.bytes.len() <= PAGE_BYTES_MAX + 20_000));
        assert_eq!(answers.get(3, 20, 100), Ok(Answer::Settled { results }));
    }
}
