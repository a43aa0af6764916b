//! What must hold, whatever happened: one file for each invariant.
//!
//! Those that a single event can break are checked while the run goes on ([`Oracle`]); those that need everything to
//! have settled are checked at the end ([`settled`]).

mod acked;
mod backlog;
mod conservation;
mod content;
mod duplicates;
mod expiry;
mod history;
mod leases;
mod letters;
mod lost;
mod onward;
mod order;
mod raft;
mod replicas;
mod replies;
pub(crate) mod settled;

pub(crate) use history::{Arrival, History, Outcome, Sent, Uid, Verdict, payload, uid_of};

use crate::determinism;
use crate::trace;
use quorate_types::probe::{self, Fact};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its name: the file in which it is.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &str, what: impl Into<String>) -> Self {
        Self { invariant: invariant.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Everything that was seen, and the first thing that must not be.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) history: History,
    raft: raft::Raft,
    pub(crate) expiry: expiry::Expiry,
    pub(crate) replies: replies::Replies,
    violation: Option<Violation>,
}

impl Oracle {
    /// Notes a violation; the first one counts.
    pub(crate) fn found(&mut self, violation: Violation) {
        if self.violation.is_none() {
            trace::line(format_args!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    pub(crate) fn check(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.found(violation);
        }
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// A replica did something.
    pub(crate) fn fact(&mut self, fact: &Fact) {
        let checked = match fact {
            Fact::Leased { group, consumer, position, count, attempt, granted_before } => {
                let first = leases::Lease { position: *position, attempt: *attempt };
                // Each group counts its sessions.
                let consumer = format!("{group}:{consumer}");
                leases::granted(&mut self.history, &consumer, first, *count, *granted_before)
            }
            Fact::GaveWay { subscription, topic, offset, count, .. } => {
                backlog::gave_way(&mut self.history, (*subscription, *topic), *offset, *count);
                Ok(())
            }
            Fact::Heard { .. } | Fact::Expires { .. } => self.expiry.take(fact, determinism::elapsed()),
            fact => self.raft.take(fact),
        };
        self.check(checked);
    }

    /// Takes what the replicas told since the last time.
    pub(crate) fn hear(&mut self) {
        for fact in probe::take_facts() {
            trace::fact(&fact);
            self.fact(&fact);
        }
    }

    /// A replica at a moment.
    pub(crate) fn status(&mut self, node: &str, group: &quorate_consensus::Group) {
        self.check(raft::indexes_are_ordered(node, &group.status()));
        self.check(conservation::in_passing(node, group));
        self.check(backlog::within(&self.history, node, group));
    }

    /// A publish is about to be sent.
    pub(crate) fn sent(&mut self, sent: Sent) -> Uid {
        self.history.sent(sent)
    }

    /// What became of a publish.
    pub(crate) fn published(&mut self, uid: Uid, outcome: Outcome) {
        self.history.finished(uid, outcome);
        let checked = content::receipt(&mut self.history, uid);
        self.check(checked);
    }

    /// A consumer is about to attach for the first time.
    pub(crate) fn consumes(&mut self, subscription: u64) {
        if let Some(subscription) = self.history.subscriptions.get_mut(&subscription) {
            subscription.consumers += 1;
        }
    }

    /// A message came to a consumer.
    pub(crate) fn arrived(&mut self, arrival: &Arrival) {
        // The lease was told before the message came.
        self.hear();
        let history = &mut self.history;
        let checked = order::arrival(history, arrival)
            .and_then(|()| order::of_key(history, arrival))
            .and_then(|()| content::arrival(history, arrival))
            .and_then(|()| leases::arrival(history, arrival))
            .and_then(|()| acked::arrival(history, arrival));
        self.check(checked);
    }

    /// A settle was answered with yes.
    pub(crate) fn settled(&mut self, subscription: u64, position: u64, attempt: u32, verdict: Verdict) {
        let checked = acked::settled(&mut self.history, subscription, position, attempt, verdict);
        self.check(checked);
    }

    /// A message was read from a topic.
    pub(crate) fn read(&mut self, topic: u64, offset: u64, payload: &[u8]) {
        let checked = content::stored(&mut self.history, topic, offset, payload);
        self.check(checked);
    }
}
