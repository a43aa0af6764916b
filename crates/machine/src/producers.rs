//! Named conversations: sessions that a client goes on with after a restart.

use crate::op::ProducerInstance;
use quorate_types::{Millis, ProducerName, Reason, Refusal, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sessions of producers whose record is gone, and ones before the former ones, that are still told so; of older ones nothing
/// is known.
const GONE_MAX: usize = 1_000;

/// What makes a session that of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producer {
    pub(crate) name: ProducerName,
    pub(crate) timeout: Duration,
    /// How often it was opened.
    pub(crate) epoch: u64,
    /// Who opened it last.
    pub(crate) instance: Option<ProducerInstance>,
    /// Its first session. The rows of its answers lie there, so that another session takes them over as they are.
    pub(crate) began: SessionId,
    /// Its session before this one, and who had opened that.
    pub(crate) former: Option<(SessionId, Option<ProducerInstance>)>,
}

impl Producer {
    /// It with this session as the first of all.
    pub(crate) fn numbered(&self, session: SessionId) -> Self {
        Self { began: session, former: None, ..self.clone() }
    }
}

/// What is remembered of a session that was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fenced {
    /// The first session of its producer.
    pub(crate) began: SessionId,
    /// Who had opened it.
    pub(crate) instance: Option<ProducerInstance>,
}

/// A producer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerView {
    /// Its name.
    pub name: ProducerName,
    /// The session in which it goes on.
    pub session: SessionId,
    /// How often it was opened.
    pub epoch: u64,
    /// The number of its newest operation.
    pub last: u64,
    /// When that was, or when it was opened: log time.
    pub seen: Millis,
    /// Its record is gone when nothing comes for so long after that.
    pub timeout: Duration,
}

/// Which sessions are those of producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    /// By name. Derived.
    by_name: BTreeMap<ProducerName, SessionId>,
    /// By the first session of each. Derived.
    by_first: BTreeMap<SessionId, SessionId>,
    /// By the session before. Derived.
    by_former: BTreeMap<SessionId, SessionId>,
    /// Last sessions of producers whose record is gone: those with the highest ids.
    gone: BTreeSet<SessionId>,
    /// Sessions that were taken over, and are not the newest such of their producer: those with the highest ids.
    fenced: BTreeMap<SessionId, Fenced>,
}

impl Producers {
    pub(crate) fn insert(&mut self, id: SessionId, producer: &Producer) {
        self.by_name.insert(producer.name.clone(), id);
        self.by_first.insert(producer.began, id);
        if let Some((former, _)) = producer.former {
            self.by_former.insert(former, id);
        }
    }

    pub(crate) fn remove(&mut self, producer: &Producer) {
        self.by_name.remove(&producer.name);
        self.by_first.remove(&producer.began);
        if let Some((former, _)) = producer.former {
            self.by_former.remove(&former);
        }
    }

    /// Whether a producer is found by all that it is found by.
    pub(crate) fn knows(&self, id: SessionId, producer: &Producer) -> bool {
        let former = producer.former.is_none_or(|(former, _)| self.by_former(former) == Some(id));
        former && self.by_name(&producer.name) == Some(id) && self.by_first(producer.began) == Some(id)
    }

    pub(crate) fn by_name(&self, name: &ProducerName) -> Option<SessionId> {
        self.by_name.get(name).copied()
    }

    /// The session of the producer whose first one this was.
    pub(crate) fn by_first(&self, id: SessionId) -> Option<SessionId> {
        self.by_first.get(&id).copied()
    }

    /// The session of the producer whose session this was before it was opened last.
    pub(crate) fn by_former(&self, id: SessionId) -> Option<SessionId> {
        self.by_former.get(&id).copied()
    }

    /// Their sessions, by name.
    pub(crate) fn sessions(&self) -> impl ExactSizeIterator<Item = SessionId> {
        self.by_name.values().copied()
    }

    /// Notes that the record of the producer with this session is gone.
    pub(crate) fn note_gone(&mut self, id: SessionId) {
        self.gone.insert(id);
        while self.gone.len() > GONE_MAX {
            self.gone.pop_first();
        }
    }

    /// Notes a session that was taken over, and that no producer names any more as the one before its own.
    pub(crate) fn note_fenced(&mut self, id: SessionId, fenced: Fenced) {
        self.fenced.insert(id, fenced);
        while self.fenced.len() > GONE_MAX {
            self.fenced.pop_first();
        }
    }

    /// Whether this instance had opened that producer, and was taken over since.
    pub(crate) fn was_fenced(&self, producer: &Producer, instance: ProducerInstance) -> bool {
        let fenced = Fenced { began: producer.began, instance: Some(instance) };
        producer.former.is_some_and(|(_, former)| former == fenced.instance)
            || self.fenced.values().any(|other| *other == fenced)
    }

    pub(crate) fn gone(&self) -> &BTreeSet<SessionId> {
        &self.gone
    }

    /// Puts back what was stored.
    pub(crate) fn load_gone(&mut self, gone: BTreeSet<SessionId>) {
        self.gone = gone;
    }

    pub(crate) fn fenced(&self) -> &BTreeMap<SessionId, Fenced> {
        &self.fenced
    }

    /// Puts back what was stored.
    pub(crate) fn load_fenced(&mut self, fenced: BTreeMap<SessionId, Fenced>) {
        self.fenced = fenced;
    }

    /// Why a session is not open, if it was a producer's.
    pub(crate) fn refusal(&self, id: SessionId) -> Option<Refusal> {
        if let Some(newest) = self.by_former(id) {
            let text = format!(
                "the producer of session {id} was opened again and goes on in session {newest}: whoever opened it last may publish, and nobody else"
            );
            return Some(Refusal::new(Reason::ProducerFenced, text));
        }
        if self.fenced.contains_key(&id) {
            let text = format!(
                "the producer of session {id} was opened again since: whoever opened it last may publish, and nobody else"
            );
            return Some(Refusal::new(Reason::ProducerFenced, text));
        }
        self.gone.contains(&id).then(|| {
            let text = format!(
                "the record of the producer of session {id} is gone, after a silence of its timeout or because it was deleted: what was published is not known any more; opened again, the producer begins anew"
            );
            Refusal::new(Reason::ProducerExpired, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_producers_that_are_gone_the_newest_are_remembered() {
        let mut producers = Producers::default();
        (1..=GONE_MAX as u64 + 5).for_each(|id| producers.note_gone(SessionId::new(id)));
        assert_eq!(producers.gone().len(), GONE_MAX);
        let reason = |id| producers.refusal(SessionId::new(id)).map(|refusal| refusal.reason);
        assert_eq!((reason(5), reason(6)), (None, Some(Reason::ProducerExpired)));
    }

    #[test]
    fn of_the_sessions_that_were_taken_over_the_newest_are_remembered() {
        let mut producers = Producers::default();
        let fenced = Fenced { began: SessionId::new(1), instance: None };
        (1..=GONE_MAX as u64 + 5).for_each(|id| producers.note_fenced(SessionId::new(id), fenced));
        assert_eq!(producers.fenced().len(), GONE_MAX);
        let reason = |id| producers.refusal(SessionId::new(id)).map(|refusal| refusal.reason);
        assert_eq!((reason(5), reason(6)), (None, Some(Reason::ProducerFenced)));
    }
}
