//! The model's part of what becomes of messages whose lease ended: back, later, or to a dead-letter topic.

use crate::onward::Stored;
use crate::queue::{Message, Place, is_held};
use crate::shard::Model;
use quorate_machine::{
    Backoff, DeathReason, MessageOptions, SettleResult, Settlement, SubscriptionConfig, SubscriptionKind,
    Verdict,
};
use quorate_types::{ConsumerId, TopicId};

/// What a message that came from another topic must say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) offset: u64,
    pub(crate) stored: u64,
    /// Of dead letters: by whom, why, and after how many attempts.
    pub(crate) death: Option<(&'static str, DeathReason, u32)>,
}

/// What a message waits after an attempt, in milliseconds.
fn backoff(config: &SubscriptionConfig, attempt: u32) -> u64 {
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap();
    match config.backoff {
        Backoff::None => 0,
        Backoff::Fixed { delay } => ms(delay),
        Backoff::Linear { step, max } => (ms(step) * u64::from(attempt)).min(ms(max)),
        Backoff::Exponential { first, max } => {
            (1..attempt).fold(ms(first), |delay, _| delay * 2).min(ms(max))
        }
    }
}

impl Model {
    pub(crate) fn settle(&mut self, queue: &'static str, id: ConsumerId, s: &Settlement) -> SettleResult {
        let mut settled = 0;
        for position in 0..self.queues[queue].messages.len() {
            let place = self.queues[queue].messages[position].place;
            let held = is_held(&self.queues[queue].messages[position], id, s.attempt);
            if !held || !(s.first..=s.last).contains(&(position as u64)) {
                continue;
            }
            settled += 1;
            match s.verdict {
                Verdict::Ack => self.put(queue, position, Place::Acked),
                Verdict::Reject => self.give_up(queue, position, s.attempt, DeathReason::Rejected),
                Verdict::Nack => {
                    let delay = backoff(&self.queues[queue].config, s.attempt);
                    self.fail(queue, position, s.attempt, delay);
                }
                Verdict::NackAfter { delay_ms } => {
                    self.fail(queue, position, s.attempt, u64::from(delay_ms));
                }
                Verdict::Extend => {
                    let timeout = u64::try_from(self.queues[queue].config.lease_timeout.as_millis()).unwrap();
                    let Place::Leased { consumer, attempt, nth, .. } = place else { continue };
                    self.put(
                        queue,
                        position,
                        Place::Leased { consumer, attempt, nth, until: self.now + timeout },
                    );
                }
            }
        }
        SettleResult { settled, stale: (s.last - s.first).saturating_add(1) - settled }
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, written: u64) {
        let Some(holder) = self.holders.remove(&consumer) else { return };
        for position in 0..self.queues[holder.queue].messages.len() {
            let place = self.queues[holder.queue].messages[position].place;
            match place {
                Place::Leased { consumer: by, attempt, nth, .. } if by == consumer && nth < written => {
                    self.fail(holder.queue, position, attempt, 0);
                }
                Place::Leased { consumer: by, attempt, .. } if by == consumer => {
                    self.put(holder.queue, position, Place::Ready { attempts: attempt - 1 });
                }
                _ => {}
            }
        }
    }

    /// What has happened by itself until now. Of several subscriptions the one with the earliest event comes first, wholly.
    pub(crate) fn pass(&mut self) {
        let now = self.now;
        self.expire_producers();
        let time = |m: &Message| match m.place {
            Place::Leased { until, .. } => Some(until),
            Place::Delayed { due, .. } => m.expiry().into_iter().chain([due]).min(),
            Place::Ready { .. } => m.expiry(),
            _ => None,
        };
        let first = |name: &&'static str| {
            self.queues[*name].messages.iter().filter_map(time).min().filter(|at| *at <= now)
        };
        let due =
            self.queues.keys().copied().filter_map(|name| Some((first(&name)?, self.queues[name].id, name)));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        for (_, _, name) in due {
            let messages = self.queues[name].messages.iter().enumerate();
            let mut over: Vec<(u64, usize, u32)> = messages
                .clone()
                .filter_map(|(position, m)| match m.place {
                    Place::Leased { attempt, until, .. } if until <= now => Some((until, position, attempt)),
                    _ => None,
                })
                .collect();
            over.sort_unstable();
            let ready: Vec<(usize, u32)> = messages
                .filter_map(|(position, m)| match m.place {
                    Place::Delayed { attempts, due } if due <= now => Some((position, attempts)),
                    _ => None,
                })
                .collect();
            for (_, position, attempt) in over {
                let delay = backoff(&self.queues[name].config, attempt);
                self.fail(name, position, attempt, delay);
            }
            for (position, attempts) in ready {
                self.put(name, position, Place::Ready { attempts });
            }
            self.expire(name);
        }
    }

    /// What every entry ends with: what is later in a key than something that came back follows, and what is over or too much goes.
    pub(crate) fn finish(&mut self) {
        for (queue, position) in std::mem::take(&mut self.returned) {
            let messages = &mut self.queues.get_mut(queue).unwrap().messages;
            let key = messages[position].options.key;
            for message in messages.iter_mut().skip(position + 1).filter(|m| m.options.key == key) {
                if let Place::Leased { attempt: attempts, .. } = message.place {
                    message.place = Place::Ready { attempts };
                }
            }
        }
        self.give_way();
    }

    pub(crate) fn expire(&mut self, queue: &'static str) {
        let messages = self.queues[queue].messages.iter().enumerate();
        let mut over: Vec<(u64, usize, u32)> = messages
            .filter_map(|(position, m)| match m.place {
                Place::Ready { attempts } | Place::Delayed { attempts, .. } => {
                    m.expiry().filter(|at| *at <= self.now).map(|at| (at, position, attempts))
                }
                _ => None,
            })
            .collect();
        over.sort_unstable();
        for (_, position, attempts) in over {
            self.give_up(queue, position, attempts, DeathReason::Expired);
        }
    }

    fn fail(&mut self, queue: &'static str, position: usize, attempts: u32, delay: u64) {
        if self.queues[queue].config.max_attempts.is_some_and(|max| attempts >= max) {
            return self.give_up(queue, position, attempts, DeathReason::MaxAttempts);
        }
        let state = &self.queues[queue];
        if state.config.kind == SubscriptionKind::KeyShared && state.messages[position].options.key.is_some()
        {
            self.returned.push((queue, position));
        }
        if delay > 0 {
            self.put(queue, position, Place::Delayed { attempts, due: self.now + delay });
        } else {
            self.put(queue, position, Place::Ready { attempts });
        }
    }

    pub(crate) fn give_up(
        &mut self,
        queue: &'static str,
        position: usize,
        attempts: u32,
        reason: DeathReason,
    ) {
        let config = &self.queues[queue].config;
        let expired = reason == DeathReason::Expired;
        let target = config.dead_letter_topic.clone().filter(|_| !expired || config.dead_letter_expired);
        let Some(target) = target else {
            return self.put(queue, position, if expired { Place::Expired } else { Place::Dropped });
        };
        self.put(queue, position, Place::DeadLettered);
        let message = &self.queues[queue].messages[position];
        let (topic, offset) = (message.topic, message.offset);
        let first = match self.letters.get(&(topic, offset)) {
            Some(before) => before.clone(),
            None => Letter {
                topic: self.topic_name(topic).to_owned(),
                offset,
                stored: self.stored[&(topic, offset)],
                death: None,
            },
        };
        let marked = self.message(topic, offset).marked;
        let (subject, options, at) = (queue.to_owned(), MessageOptions::default(), self.now);
        let letter = Stored { subject, marked, options, at, timed: false, letter: true };
        let place = self.append(target.as_str(), &[letter]).map(|appended| appended.first_offset).unwrap();
        let target = self.topics[target.as_str()].0;
        let death = Some((queue, reason, attempts));
        self.letters.insert((target, place), Letter { death, ..first });
    }

    fn topic_name(&self, id: TopicId) -> &'static str {
        self.topics.iter().find(|(_, (topic, _))| *topic == id).map(|(name, _)| *name).unwrap()
    }

    pub(crate) fn put(&mut self, queue: &'static str, position: usize, place: Place) {
        self.queues.get_mut(queue).unwrap().messages[position].place = place;
    }
}

impl Message {
    fn expiry(&self) -> Option<u64> {
        Some(self.expires).filter(|at| *at > 0)
    }
}
