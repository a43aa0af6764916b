//! The model's part of moving a subscription, and of remembering where it was.

use crate::pair::{MARKS, SUBSCRIPTIONS};
use crate::queue::Place;
use crate::shard::{Model, known};
use quorate_machine::{Answer, SeekTo, Start};
use quorate_types::{Reason, TopicId};

impl Model {
    /// Topics that are bound to a subscription, in the order in which they were created.
    fn bound(&self, name: &str) -> Vec<(TopicId, &'static str)> {
        let queue = &self.queues[name];
        let bound = |topic: &&'static str| queue.bindings.keys().any(|(t, _)| t == topic);
        let topics =
            self.topics.iter().filter(|(topic, _)| bound(topic)).map(|(topic, (id, _))| (*id, *topic));
        let mut topics: Vec<_> = topics.collect();
        topics.sort_unstable();
        topics
    }

    pub(crate) fn seek(&mut self, name: &'static str, to: &SeekTo) -> Result<Answer, Reason> {
        self.queue(name)?;
        let topics = self.bound(name);
        let mut starts = Vec::new();
        for (id, topic) in &topics {
            let next = self.topics[topic].1.len() as u64;
            starts.push(match to {
                SeekTo::Start(Start::Latest) => next,
                SeekTo::Start(Start::Offset(_)) if topics.len() > 1 => return Err(Reason::InvalidArgument),
                SeekTo::Start(Start::Offset(offset)) if *offset > next => {
                    return Err(Reason::OffsetOutOfRange);
                }
                SeekTo::Start(Start::Offset(offset)) => *offset,
                SeekTo::Start(Start::Time(time)) => {
                    let late = |offset: &u64| {
                        let place = (*id, *offset);
                        !self.gone.contains(&place) && self.stored[&place] >= time.get()
                    };
                    (0..next).find(late).unwrap_or(next)
                }
                SeekTo::Mark(mark) => {
                    let marks = &self.queues[name].marks;
                    let offsets = marks.get(mark.as_str()).ok_or(Reason::MarkNotFound)?;
                    offsets.get(id).copied().unwrap_or(next)
                }
            });
        }
        if topics.is_empty() {
            match to {
                SeekTo::Start(Start::Offset(_)) => return Err(Reason::InvalidArgument),
                SeekTo::Mark(mark) if !self.queues[name].marks.contains_key(mark.as_str()) => {
                    return Err(Reason::MarkNotFound);
                }
                _ => {}
            }
        }
        let queue = self.queue(name)?;
        let mut messages = 0;
        for message in queue.messages.iter_mut().filter(|m| m.place.is_unsettled()) {
            message.place = Place::Purged;
            messages += 1;
        }
        for ((_, topic), start) in topics.into_iter().zip(starts) {
            let queue = self.queue(name)?;
            let bindings = queue.bindings.iter_mut().filter(|((t, _), _)| *t == topic);
            bindings.for_each(|(_, from)| *from = start);
            queue.cursors.insert(topic, start);
            self.catch_up(name, topic);
        }
        Ok(Answer::Purged { messages })
    }

    pub(crate) fn mark(&mut self, name: &str, mark: &str) -> Result<Answer, Reason> {
        let name = known(&SUBSCRIPTIONS, name);
        self.queue(name)?;
        let queue = &self.queues[name];
        let oldest = |(id, topic): (TopicId, &'static str)| {
            let unsettled = queue.messages.iter().filter(|m| m.topic == id && m.place.is_unsettled());
            let ahead = queue.cursors.get(topic).copied();
            let oldest = unsettled.map(|m| m.offset).chain(ahead).min();
            (id, oldest.unwrap_or(self.topics[topic].1.len() as u64))
        };
        let offsets = self.bound(name).into_iter().map(oldest).collect();
        self.queue(name)?.marks.insert(known(&MARKS, mark), offsets);
        Ok(Answer::Done)
    }
}
