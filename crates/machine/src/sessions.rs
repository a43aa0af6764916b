//! Numbered conversations (DESIGN §6.2): what makes a repeat harmless.

use crate::agenda::Agenda;
use crate::answers::Answers;
use crate::applied::Reply;
use crate::rows::RowKey;
use quorate_types::probe;
use quorate_types::{BootId, Millis, NodeId, Reason, Refusal, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who talks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Party {
    /// A client; the session ends by itself after a silence.
    Client { timeout: Duration },
    /// A node, for one of its starts; ended by `Hello` or `ExpireNode`.
    Node { node: NodeId, boot: BootId },
}

/// One conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) party: Party,
    /// The newest number that was accepted.
    pub(crate) last: u64,
    /// When, in log time.
    pub(crate) seen: Millis,
    pub(crate) answers: Answers,
}

impl Session {
    /// When a client's session ends if nothing more comes.
    fn ends(&self) -> Option<Millis> {
        match self.party {
            Party::Client { timeout } => Some(self.seen.after(timeout)),
            Party::Node { .. } => None,
        }
    }
}

/// What to do with an operation that claims a number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the next one: apply it, then [`Sessions::answer`].
    Next,
    /// It was done, or cannot be done: this is the reply.
    Reply(Reply),
}

/// All conversations of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    open: BTreeMap<SessionId, Session>,
    pub(crate) last_id: u64,
    /// The session of each node: the newest start ends all earlier ones. Derived.
    nodes: BTreeMap<NodeId, SessionId>,
    /// When clients' sessions end. Derived.
    ends: Agenda<SessionId>,
}

impl Sessions {
    pub(crate) fn open(&mut self, party: Party, now: Millis, dirty: &mut BTreeSet<RowKey>) -> SessionId {
        self.last_id += 1;
        let id = SessionId::new(self.last_id);
        self.insert(id, Session { party, last: 0, seen: now, answers: Answers::default() });
        dirty.insert(RowKey::Session(id));
        id
    }

    /// Puts a session back that was stored.
    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        self.ends.set(id, session.ends());
        if let Party::Node { node, .. } = session.party {
            self.nodes.insert(node, id);
        }
        self.open.insert(id, session);
    }

    /// Ends a session. Says whether it was open.
    pub(crate) fn end(&mut self, id: SessionId, dirty: &mut BTreeSet<RowKey>) -> bool {
        let Some(session) = self.open.remove(&id) else { return false };
        self.ends.set(id, None);
        if let Party::Node { node, .. } = session.party {
            self.nodes.remove(&node);
        }
        dirty.insert(RowKey::Session(id));
        dirty.extend(session.answers.pages().keys().map(|page| RowKey::Answers(id, *page)));
        true
    }

    /// Compares a number with the conversation; changes nothing.
    pub(crate) fn admit(&self, id: SessionId, sequence: u64, answers_max: u32) -> Admission {
        let Some(session) = self.open.get(&id) else {
            probe::sometimes("session not found");
            let text = format!("session {id} is not open: it expired or was never opened; open a new one");
            return Admission::Reply(Err(Refusal::new(Reason::SessionNotFound, text)));
        };
        let next = session.last.saturating_add(1);
        if sequence == next {
            return Admission::Next;
        }
        if sequence > next {
            probe::sometimes("gap refused");
            let text =
                format!("operation {sequence} of session {id} came before operation {next}: send that first");
            return Admission::Reply(Err(Refusal::new(Reason::SequenceGap, text)));
        }
        probe::sometimes("replayed answer served");
        Admission::Reply(session.answers.get(sequence, session.last, answers_max))
    }

    /// Notes the reply to the operation that was admitted. Nothing if the operation ended its own session.
    pub(crate) fn answer(
        &mut self,
        id: SessionId,
        reply: &Reply,
        now: Millis,
        answers_max: u32,
        dirty: &mut BTreeSet<RowKey>,
    ) {
        let Some(session) = self.open.get_mut(&id) else { return };
        session.last = session.last.saturating_add(1);
        session.seen = now;
        dirty.insert(RowKey::Session(id));
        session.answers.push(session.last, reply, answers_max, |page| {
            dirty.insert(RowKey::Answers(id, page));
        });
        self.ends.set(id, session.ends());
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.open.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.open.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.open.iter()
    }

    /// Clients' sessions and nodes' together.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The nodes' sessions, by node.
    pub(crate) fn of_nodes(&self) -> impl Iterator<Item = (NodeId, SessionId, BootId)> {
        self.nodes.keys().filter_map(|node| self.of_node(*node).map(|(id, boot)| (*node, id, boot)))
    }

    /// A node's session, and for which start it is.
    pub(crate) fn of_node(&self, node: NodeId) -> Option<(SessionId, BootId)> {
        let id = *self.nodes.get(&node)?;
        match self.open.get(&id)?.party {
            Party::Node { boot, .. } => Some((id, boot)),
            Party::Client { .. } => None,
        }
    }

    /// The node behind a session.
    pub(crate) fn node(&self, id: SessionId) -> Option<NodeId> {
        match self.open.get(&id)?.party {
            Party::Node { node, .. } => Some(node),
            Party::Client { .. } => None,
        }
    }

    /// When the first client's session ends.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.ends.next()
    }

    /// A client's session whose time is over.
    pub(crate) fn over(&self, now: Millis) -> Option<SessionId> {
        self.ends.due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::applied::Answer;

    const NOW: Millis = Millis::new(5);

    fn client() -> (Sessions, SessionId) {
        let mut sessions = Sessions::default();
        let party = Party::Client { timeout: Duration::from_secs(1) };
        let id = sessions.open(party, NOW, &mut BTreeSet::new());
        (sessions, id)
    }

    fn reason(admission: Admission) -> Option<Reason> {
        match admission {
            Admission::Reply(Err(refusal)) => Some(refusal.reason),
            _ => None,
        }
    }

    #[test]
    fn only_the_next_number_is_admitted_and_a_repeat_gets_the_first_answer() {
        let (mut sessions, id) = client();
        assert_eq!(reason(sessions.admit(id, 2, 10)), Some(Reason::SequenceGap));
        assert_eq!(reason(sessions.admit(id, u64::MAX, 10)), Some(Reason::SequenceGap));
        assert_eq!(sessions.admit(id, 1, 10), Admission::Next);
        let refused = Err(Refusal::new(Reason::TopicNotFound, "x"));
        sessions.answer(id, &refused, NOW, 10, &mut BTreeSet::new());
        assert_eq!(sessions.admit(id, 1, 10), Admission::Reply(refused));
        assert_eq!(sessions.admit(id, 2, 10), Admission::Next);
    }

    #[test]
    fn a_repeat_older_than_the_kept_answers_is_a_duplicate() {
        let (mut sessions, id) = client();
        (0..3).for_each(|_| sessions.answer(id, &Ok(Answer::Done), NOW, 2, &mut BTreeSet::new()));
        assert_eq!(reason(sessions.admit(id, 1, 2)), Some(Reason::Duplicate));
        assert_eq!(reason(sessions.admit(id, 0, 2)), Some(Reason::Duplicate));
        assert_eq!(sessions.admit(id, 2, 2), Admission::Reply(Ok(Answer::Done)));
    }

    #[test]
    fn a_silent_client_is_over_after_its_timeout_and_each_operation_puts_that_off() {
        let (mut sessions, id) = client();
        assert_eq!(sessions.next_end(), Some(Millis::new(1_005)));
        sessions.answer(id, &Ok(Answer::Done), Millis::new(500), 2, &mut BTreeSet::new());
        assert_eq!(sessions.over(Millis::new(1_499)), None);
        assert_eq!(sessions.over(Millis::new(1_500)), Some(id));
        assert!(sessions.end(id, &mut BTreeSet::new()));
        assert_eq!(sessions.next_end(), None);
    }

    #[test]
    fn an_unknown_session_is_refused_and_never_recreated() {
        let (sessions, id) = client();
        let other = SessionId::new(id.get() + 1);
        assert_eq!(reason(sessions.admit(other, 1, 10)), Some(Reason::SessionNotFound));
    }
}
