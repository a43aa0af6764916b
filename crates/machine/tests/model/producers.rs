//! Producers, as the model has them: a name with the answers to all that was ever sent under it.

use crate::pair::PRODUCERS;
use crate::shard::{Model, known};
use quorate_machine::{Answer, ProducerInstance, Reply};
use quorate_types::{ProducerName, Reason, SessionId};
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE_MS: u64 = 60_000;

/// What is known of one name.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    /// All that it had, the newest last, each with who opened it.
    pub(crate) sessions: Vec<(SessionId, Option<ProducerInstance>)>,
    pub(crate) timeout: u64,
    pub(crate) seen: u64,
}

impl Producer {
    pub(crate) fn session(&self) -> SessionId {
        self.sessions.last().unwrap().0
    }
}

/// The producers, and sessions that are over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    pub(crate) there: BTreeMap<&'static str, Producer>,
    gone: Vec<SessionId>,
    /// All sessions that were taken over.
    fenced: Vec<SessionId>,
}

impl Producers {
    /// Why a session is not open.
    pub(crate) fn reason(&self, session: SessionId) -> Reason {
        if self.fenced.contains(&session) {
            Reason::ProducerFenced
        } else if self.gone.contains(&session) {
            Reason::ProducerExpired
        } else {
            Reason::SessionNotFound
        }
    }

    /// An operation was done under a session.
    pub(crate) fn see(&mut self, session: SessionId, now: u64) {
        self.there.values_mut().filter(|p| p.session() == session).for_each(|p| p.seen = now);
    }
}

impl Model {
    /// `found`: what the machine answered, of which the session is taken over.
    pub(crate) fn open_producer(
        &mut self,
        name: &'static str,
        instance: Option<ProducerInstance>,
        ms: u64,
        found: &Reply,
    ) -> Result<Answer, Reason> {
        let (now, timeout) = (self.now, ms.clamp(MINUTE_MS, 365 * 24 * 60 * MINUTE_MS));
        let session = match found {
            Ok(Answer::ProducerOpened { session, .. }) => *session,
            _ => SessionId::NONE,
        };
        let sessions = Vec::new();
        let producer = self.producers.there.entry(name).or_insert(Producer { sessions, timeout, seen: now });
        let mut newest = producer.sessions.iter().rev().map(|(_, by)| instance.is_some() && *by == instance);
        let (same, former) = (newest.next() == Some(true), newest.any(|by| by));
        if former && !same {
            return Err(Reason::ProducerFenced);
        }
        if !same {
            let answers = producer.sessions.last().and_then(|(former, _)| self.answers.remove(former));
            self.producers.fenced.extend(producer.sessions.last().map(|(former, _)| *former));
            let none = self.answers.insert(session, answers.unwrap_or_default());
            assert!(none.is_none() && session != SessionId::NONE, "session {session} is not new");
            producer.sessions.push((session, instance));
            producer.timeout = timeout;
        }
        producer.seen = now;
        let (session, epoch) = (producer.session(), producer.sessions.len() as u64);
        Ok(Answer::ProducerOpened { session, epoch, last: self.answers[&session].len() as u64 })
    }

    pub(crate) fn delete_producer(&mut self, name: &ProducerName) -> Result<Answer, Reason> {
        let name = known(&PRODUCERS, name.as_str());
        let producer = self.producers.there.remove(name).ok_or(Reason::ProducerNotFound)?;
        self.answers.remove(&producer.session());
        self.producers.gone.push(producer.session());
        Ok(Answer::Done)
    }

    pub(crate) fn expire_producers(&mut self) {
        let over = |p: &Producer| p.seen + p.timeout <= self.now;
        let names: Vec<&str> =
            self.producers.there.iter().filter(|(_, p)| over(p)).map(|(n, _)| *n).collect();
        for name in names {
            self.delete_producer(&ProducerName::parse(name).unwrap()).unwrap();
        }
    }

    /// Name, session, epoch, newest number, silence and timeout of each.
    pub(crate) fn producers_seen(&self) -> Vec<(String, SessionId, u64, u64, u64, Duration)> {
        let view = |(name, p): (&&str, &Producer)| {
            let (epoch, last) = (p.sessions.len() as u64, self.answers[&p.session()].len() as u64);
            ((*name).to_owned(), p.session(), epoch, last, p.seen, Duration::from_millis(p.timeout))
        };
        self.producers.there.iter().map(view).collect()
    }
}
