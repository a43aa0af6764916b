//! The replies that a session got, kept for repeats: encoded, some 15 bytes each, in pages that are rows.

use crate::applied::Reply;
use crate::codec;
use quorate_types::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Replies of one page. Each new reply writes its page anew with the next checkpoint: not too many.
const PAGE_REPLIES_MAX: u32 = 64;
/// A page that has reached so many bytes takes no more: with one large reply it still fits a row.
const PAGE_BYTES_MAX: usize = 16 << 10;

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
    pub(crate) pages: BTreeMap<u64, AnswerPage>,
}

impl Answers {
    /// Keeps the reply to operation `sequence`, the next one, and lets go of those to `sequence - max` and
    /// before, by whole pages. The pages that changed or went are told to `touch`.
    pub(crate) fn push(&mut self, sequence: u64, reply: &Reply, max: u32, mut touch: impl FnMut(u64)) {
        let open = self.pages.last_key_value().filter(|(_, page)| !page.is_full()).map(|(first, _)| *first);
        let first = open.unwrap_or(sequence);
        self.pages.entry(first).or_default().push(reply);
        touch(first);
        while let Some(oldest) = self.pages.first_entry() {
            let newest_in_it = oldest.key() + u64::from(oldest.get().count) - 1;
            if newest_in_it.saturating_add(u64::from(max)) > sequence {
                return;
            }
            touch(*oldest.key());
            oldest.remove();
        }
    }

    /// The reply to operation `sequence` of a session whose newest is `last`. The same on every replica however
    /// much is still in the pages: older than `max` is `DUPLICATE`.
    pub(crate) fn get(&self, sequence: u64, last: u64, max: u32) -> Reply {
        let in_window = sequence.saturating_add(u64::from(max)) > last;
        let page = self.pages.range(..=sequence).next_back().filter(|_| in_window);
        page.and_then(|(first, page)| page.get(sequence - first)).unwrap_or_else(|| {
            let text = format!(
                "operation {sequence} was done already, before the newest {max}, whose answers are kept: do not send it again"
            );
            Err(Refusal::new(Reason::Duplicate, text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::applied::{Answer, SettleResult};
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
    fn a_page_of_large_replies_stays_small() {
        let mut answers = Answers::default();
        let results = vec![SettleResult { settled: 1_000, stale: 0 }; 4_000];
        (1..=20)
            .for_each(|n| answers.push(n, &Ok(Answer::Settled { results: results.clone() }), 100, |_| {}));
        assert!(answers.pages.values().all(|page| page.bytes.len() <= PAGE_BYTES_MAX + 20_000));
        assert_eq!(answers.get(3, 20, 100), Ok(Answer::Settled { results }));
    }
}
