//! A client starts a named conversation, or goes on with it.

use super::limit;
use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::op::ProducerInstance;
use crate::producers::Producer;
use crate::sessions::Party;
use crate::shard::Context;
use quorate_types::probe;
use quorate_types::{ProducerName, Reason, Refusal, SessionId};
use std::time::Duration;

/// A producer lives at least so long: less would be gone before its process has restarted.
const TIMEOUT_MIN: Duration = Duration::from_secs(60);
/// …and at most so long after its last operation: forgotten producers keep their answers.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Machine {
    /// A timeout outside the bounds becomes the nearest bound.
    pub(crate) fn open_producer(
        &mut self,
        name: &ProducerName,
        instance: Option<ProducerInstance>,
        timeout: Duration,
        ctx: &mut Context<'_>,
    ) -> Reply {
        self.shard_only()?;
        let timeout = timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        let session = match self.sessions.producer(name) {
            None => self.begin_producer(name, instance, timeout, ctx)?,
            Some((session, producer)) if instance.is_some() && producer.instance == instance => {
                probe::sometimes("producer opened by the same one again");
                self.sessions.see(session, ctx.now, ctx.dirty);
                session
            }
            Some((session, producer)) => {
                if instance.is_some_and(|instance| self.sessions.producers.was_fenced(producer, instance)) {
                    let text = format!(
                        "producer {name} was opened again since, with epoch {}: this attempt comes too late",
                        producer.epoch
                    );
                    return Err(Refusal::new(Reason::ProducerFenced, text));
                }
                probe::sometimes("producer fenced");
                let producer = Producer {
                    timeout,
                    epoch: producer.epoch.saturating_add(1),
                    instance,
                    former: Some((session, producer.instance)),
                    ..producer.clone()
                };
                let (party, version) = (Party::Producer(Box::new(producer)), self.version());
                self.sessions.succeed(session, party, ctx.now, version, ctx.dirty)
            }
        };
        let last = self.sessions.get(session).map_or(0, |session| session.last);
        let epoch = self.sessions.producer(name).map_or(0, |(_, producer)| producer.epoch);
        Ok(Answer::ProducerOpened { session, epoch, last })
    }

    fn begin_producer(
        &mut self,
        name: &ProducerName,
        instance: Option<ProducerInstance>,
        timeout: Duration,
        ctx: &mut Context<'_>,
    ) -> Result<SessionId, Refusal> {
        self.check_sessions(ctx)?;
        let max = ctx.limits.producers_max;
        if self.sessions.producers.sessions().len() >= max as usize {
            return Err(limit("the number of producers", max));
        }
        let began = self.sessions.next_id();
        let producer = Producer { name: name.clone(), timeout, epoch: 1, instance, began, former: None };
        Ok(self.sessions.open(Party::Producer(Box::new(producer)), ctx.now, ctx.dirty))
    }
}
