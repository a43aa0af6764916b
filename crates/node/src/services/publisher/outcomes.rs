//! What became of a request's messages, topic by topic.

use super::prepare::PerTopic;
use crate::forwarder::Answer as ForwarderAnswer;
use crate::metrics::DataMetrics;
use quorate_machine::{Answer, Appended};
use quorate_types::{GroupId, LogId, Reason, Refusal};
use quorate_wire::error_of;
use quorate_wire::v1::{self, publish_response, topic_outcome};
use std::time::Duration;

/// The outcome for each topic of a request; or that of the whole request, when it was refused.
pub(super) struct Outcomes {
    pub(super) first: Result<v1::Receipt, Refusal>,
    more: Vec<Result<v1::Receipt, Refusal>>,
    /// Of what was stored.
    bytes: u64,
}

impl Outcomes {
    /// Nothing of the request was done.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { first: Err(refusal), more: Vec::new(), bytes: 0 }
    }

    /// From the group's answer. `bytes`: of the operation's fragment.
    pub(super) fn of(group: GroupId, answer: ForwarderAnswer, bytes: u64, per_topic: PerTopic) -> Self {
        match answer.reply {
            Ok(Answer::Published { first_offset, count, routed, log_id, duplicate }) => {
                let duplicate_of = duplicate.then_some(log_id);
                let first = receipt(group, Appended { first_offset, count, routed, duplicate_of }, log_id);
                Self { first: Ok(first), more: Vec::new(), bytes: if duplicate { 0 } else { bytes } }
            }
            Ok(Answer::PublishedEach { outcomes, log_id }) => {
                Self::of_each(group, outcomes, log_id, per_topic)
            }
            Ok(Answer::Committed { appended, log_id }) if appended.is_empty() => {
                Self { first: Ok(receipt(group, Appended::default(), log_id)), more: Vec::new(), bytes }
            }
            Ok(Answer::Committed { appended, log_id }) => {
                Self::of_each(group, appended.into_iter().map(Ok).collect(), log_id, per_topic)
            }
            Ok(other) => Self::refused(unexpected(&other)),
            Err(refusal) => Self::refused(refusal),
        }
    }

    fn of_each(
        group: GroupId,
        mut outcomes: Vec<Result<Appended, Refusal>>,
        log_id: LogId,
        per_topic: PerTopic,
    ) -> Self {
        for (at, refusal) in per_topic.refused {
            // What is stored is stored, though a node with other limits took it first.
            if let Some(Err(text)) = outcomes.get_mut(at) {
                *text = refusal;
            }
        }
        let is_stored =
            |outcome: &Result<Appended, _>| outcome.as_ref().is_ok_and(|a| a.duplicate_of.is_none());
        let stored = outcomes.iter().zip(per_topic.bytes).filter(|(outcome, _)| is_stored(outcome));
        let bytes = stored.map(|(_, bytes)| u64::from(bytes)).sum();
        let receipt = |outcome: Result<Appended, _>| outcome.map(|a| receipt(group, a, log_id));
        let mut outcomes = outcomes.into_iter().map(receipt);
        match outcomes.next() {
            Some(first) => Self { first, more: outcomes.collect(), bytes },
            None => Self::refused(unexpected(&Answer::PublishedEach { outcomes: Vec::new(), log_id })),
        }
    }

    /// Whether nothing of the request was done, if it was refused at all.
    pub(super) fn is_whole(&self) -> bool {
        self.more.is_empty()
    }

    /// Counts what was stored and what was refused.
    pub(super) fn count(&self, metrics: &DataMetrics, took: Duration) {
        let mut messages = 0;
        for outcome in std::iter::once(&self.first).chain(&self.more) {
            match outcome {
                Ok(receipt) if receipt.duplicate => metrics.publish_duplicate(),
                Ok(receipt) => messages += u64::from(receipt.count),
                Err(refusal) => metrics.publish_refused(refusal.reason),
            }
        }
        if messages > 0 {
            metrics.published(messages, self.bytes, took);
        }
    }

    /// As the publisher is told.
    pub(super) fn response(self, sequence: u64) -> v1::PublishResponse {
        let first = match self.first {
            Ok(receipt) => publish_response::Outcome::Receipt(receipt),
            Err(refusal) => publish_response::Outcome::Error(error_of(&refusal, None)),
        };
        let outcome = |outcome| match outcome {
            Ok(receipt) => topic_outcome::Outcome::Receipt(receipt),
            Err(refusal) => topic_outcome::Outcome::Error(error_of(&refusal, None)),
        };
        let more = self.more.into_iter().map(|more| v1::TopicOutcome { outcome: Some(outcome(more)) });
        v1::PublishResponse { sequence, outcome: Some(first), more: more.collect() }
    }
}

fn receipt(group: GroupId, appended: Appended, log_id: LogId) -> v1::Receipt {
    let log_id = appended.duplicate_of.unwrap_or(log_id);
    v1::Receipt {
        first_offset: appended.first_offset,
        count: appended.count,
        routed: appended.routed,
        group: group.get(),
        term: log_id.term,
        index: log_id.index,
        duplicate: appended.duplicate_of.is_some(),
    }
}

/// The answer is not one to this operation.
pub(super) fn unexpected(answer: &Answer) -> Refusal {
    Refusal::new(Reason::NotReady, format!("unexpected answer {answer:?}: a node of another version leads"))
}

#[cfg(test)]
#[path = "outcomes_tests.rs"]
mod tests;
