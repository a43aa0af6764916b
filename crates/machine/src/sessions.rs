//! Numbered conversations (DESIGN §6.2): what makes a repeat harmless.

use crate::agenda::Agenda;
use crate::answers::Answers;
use crate::applied::Reply;
use crate::producers::{Fenced, Producer, Producers};
use crate::rows::RowKey;
use quorate_types::probe;
use quorate_types::{BootId, Millis, NodeId, ProducerName, Reason, Refusal, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The version of the machine by which sessions that were taken over more than once are remembered.
const FENCED_SINCE: u32 = 2;

/// Who talks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Party {
    /// A client; the session ends by itself after a silence.
    Client { timeout: Duration },
    /// A node, for one of its starts; ended by `Hello` or `ExpireNode`.
    Node { node: NodeId, boot: BootId },
    /// A client that goes on with it after a restart; ends by itself after a silence.
    Producer(Box<Producer>),
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
    /// When a session ends if nothing more comes. A node's does not by itself.
    fn ends(&self) -> Option<Millis> {
        match self.party {
            Party::Client { timeout } => Some(self.seen.after(timeout)),
            Party::Producer(ref producer) => Some(self.seen.after(producer.timeout)),
            Party::Node { .. } => None,
        }
    }

    pub(crate) fn producer(&self) -> Option<&Producer> {
        match &self.party {
            Party::Producer(producer) => Some(producer),
            Party::Client { .. } | Party::Node { .. } => None,
        }
    }

    /// The session under which the rows of its answers lie. `id`: its own.
    pub(crate) fn pages_of(&self, id: SessionId) -> SessionId {
        self.producer().map_or(id, |producer| producer.began)
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
    pub(crate) producers: Producers,
}

impl Sessions {
    pub(crate) fn open(&mut self, party: Party, now: Millis, dirty: &mut BTreeSet<RowKey>) -> SessionId {
        let id = self.next_id();
        self.last_id = id.get();
        self.insert(id, Session { party, last: 0, seen: now, answers: Answers::default() });
        dirty.insert(RowKey::Session(id));
        id
    }

    /// The id of the session that is opened next.
    pub(crate) fn next_id(&self) -> SessionId {
        SessionId::new(self.last_id + 1)
    }

    /// Goes on with a producer in a new session, which takes over all that the former one had.
    pub(crate) fn succeed(
        &mut self,
        former: SessionId,
        party: Party,
        now: Millis,
        version: u32,
        dirty: &mut BTreeSet<RowKey>,
    ) -> SessionId {
        let before = self.take(former);
        dirty.insert(RowKey::Session(former));
        self.note_fenced(before.as_ref(), version, dirty);
        let id = self.open(party, now, dirty);
        if let (Some(before), Some(session)) = (before, self.open.get_mut(&id)) {
            (session.last, session.answers) = (before.last, before.answers);
        }
        id
    }

    /// Puts the end of a session off, as an operation does.
    pub(crate) fn see(&mut self, id: SessionId, now: Millis, dirty: &mut BTreeSet<RowKey>) {
        let Some(session) = self.open.get_mut(&id) else { return };
        session.seen = now;
        self.ends.set(id, session.ends());
        dirty.insert(RowKey::Session(id));
    }

    /// Puts a session back that was stored.
    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        self.ends.set(id, session.ends());
        match &session.party {
            Party::Client { .. } => {}
            Party::Node { node, .. } => drop(self.nodes.insert(*node, id)),
            Party::Producer(producer) => self.producers.insert(id, producer),
        }
        self.open.insert(id, session);
    }

    fn take(&mut self, id: SessionId) -> Option<Session> {
        let session = self.open.remove(&id)?;
        self.ends.set(id, None);
        match &session.party {
            Party::Client { .. } => {}
            Party::Node { node, .. } => drop(self.nodes.remove(node)),
            Party::Producer(producer) => self.producers.remove(producer),
        }
        Some(session)
    }

    /// The session before this one of a producer is named by nobody from now on: whoever still talks in it is told all the same
    /// that it is fenced.
    fn note_fenced(&mut self, session: Option<&Session>, version: u32, dirty: &mut BTreeSet<RowKey>) {
        let producer = session.and_then(Session::producer).filter(|_| version >= FENCED_SINCE);
        if let Some((began, (former, instance))) = producer.and_then(|p| Some((p.began, p.former?))) {
            self.producers.note_fenced(former, Fenced { began, instance });
            dirty.insert(RowKey::FencedProducers);
        }
    }

    /// Ends a session; `version`: of the machine. Says whether it was open.
    pub(crate) fn end(&mut self, id: SessionId, version: u32, dirty: &mut BTreeSet<RowKey>) -> bool {
        let Some(session) = self.take(id) else { return false };
        if session.producer().is_some() {
            self.producers.note_gone(id);
            dirty.insert(RowKey::GoneProducers);
            self.note_fenced(Some(&session), version, dirty);
        }
        dirty.insert(RowKey::Session(id));
        dirty.extend(session.answers.pages().keys().map(|page| RowKey::Answers(session.pages_of(id), *page)));
        true
    }

    /// A producer by its name, and its session.
    pub(crate) fn producer(&self, name: &ProducerName) -> Option<(SessionId, &Producer)> {
        let id = self.producers.by_name(name)?;
        Some((id, self.open.get(&id)?.producer()?))
    }

    /// Compares a number with the conversation; changes nothing.
    pub(crate) fn admit(&self, id: SessionId, sequence: u64, answers_max: u32) -> Admission {
        let Some(session) = self.open.get(&self.let_in(id)) else {
            if let Some(refusal) = self.producers.refusal(id) {
                probe::sometimes("former session of a producer refused");
                return Admission::Reply(Err(refusal));
            }
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

    fn let_in(&self, id: SessionId) -> SessionId {
        if probe::planted("a fenced producer is let in") {
            return self.producers.by_former(id).unwrap_or(id);
        }
        id
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
        let pages = session.pages_of(id);
        session.answers.push(session.last, reply, answers_max, |page| {
            dirty.insert(RowKey::Answers(pages, page));
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

    /// Sessions of producers that would not be found, or that are said to be gone or fenced.
    pub(crate) fn misplaced_producers(&self) -> impl Iterator<Item = SessionId> {
        let named = self.open.iter().filter_map(|(id, session)| Some((*id, session.producer()?)));
        let lost = named.filter(|&(id, producer)| !self.producers.knows(id, producer)).map(|(id, _)| id);
        let known = self.producers.sessions().chain(self.producers.gone().iter().copied());
        let wrong = known.filter(|id| {
            let is_open = self.open.get(id).is_some_and(|session| session.producer().is_some());
            is_open == self.producers.gone().contains(id)
        });
        let open = self.producers.fenced().keys().copied().filter(|id| self.open.contains_key(id));
        lost.chain(wrong).chain(open)
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
            Party::Client { .. } | Party::Producer(_) => None,
        }
    }

    /// The node behind a session.
    pub(crate) fn node(&self, id: SessionId) -> Option<NodeId> {
        match self.open.get(&id)?.party {
            Party::Node { node, .. } => Some(node),
            Party::Client { .. } | Party::Producer(_) => None,
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
        assert!(sessions.end(id, 1, &mut BTreeSet::new()));
        assert_eq!(sessions.next_end(), None);
    }

    #[test]
    fn an_unknown_session_is_refused_and_never_recreated() {
        let (sessions, id) = client();
        let other = SessionId::new(id.get() + 1);
        assert_eq!(reason(sessions.admit(other, 1, 10)), Some(Reason::SessionNotFound));
    }
}
