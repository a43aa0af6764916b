//! Which one of its namespace's shards a shard is, and what therefore does not belong on it.
//!
//! A topic lies on the home shard of its name or, spread by key, on all of them. So a topic that is here and not at home here is a
//! spread one, and what two topics or a topic and a subscription have to do with each other is done on every shard alike: a
//! message is in one place, in one entry of one log. A shard learns its place when it is opened and holds this itself, so that
//! neither a client that counts otherwise nor a node with an old view can put anything where nobody would look for it.

use super::{Shard, Topic};
use crate::config::TopicConfig;
use crate::publishes::PublishView;
use quorate_types::{Reason, Refusal, ShardPlace, TopicId, TopicName};
use std::fmt::Display;

impl Shard {
    /// Which one of its namespace's shards it is.
    #[must_use]
    pub fn place(&self) -> ShardPlace {
        self.place
    }

    /// Whether a topic that is here is spread by key over all shards of the namespace. `None`: there is none.
    #[must_use]
    pub fn is_spread(&self, name: &TopicName) -> Option<bool> {
        let topic = self.topics.get(&self.topic_names.get(name.as_str())?)?;
        Some(topic.config.spread_by_key)
    }

    /// The shard is told which one it is: always the same, so that this refuses nothing but a mistake.
    pub(crate) fn take_place(&mut self, place: ShardPlace) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.place, place);
        match self.misplaced().and_then(|id| self.topics.get(&id)) {
            None => Ok(()),
            Some(topic) => {
                let text =
                    format!("it has topic {}, which does not belong on shard {}", topic.name, place.shard);
                self.place = before;
                Err(Refusal::new(Reason::WrongShard, text))
            }
        }
    }

    /// Whether a topic of that name, which is to be created, belongs here.
    pub(crate) fn check_home(&self, name: &TopicName, config: &TopicConfig) -> Result<(), Refusal> {
        if config.spread_by_key || self.place.is_home_of(name.as_str()) {
            return Ok(());
        }
        Err(self.elsewhere(name.as_str()))
    }

    /// Whether messages that are published belong here. A look at one number where there is one shard.
    pub(crate) fn check_belongs(&self, publish: &PublishView<'_>) -> Result<(), Refusal> {
        let (here, shards) = (self.place.shard, self.place.shards);
        if !shards.are_several() {
            return Ok(());
        }
        let topic = self.topic_names.get(publish.topic).and_then(|id| self.topics.get(&id));
        let Some(topic) = topic else {
            let at_home = self.place.is_home_of(publish.topic);
            return if at_home { Ok(()) } else { Err(self.elsewhere(publish.topic)) };
        };
        let keys = publish.runs.into_iter().map(|run| run.options.key).filter(|key| key.is_some());
        let keys = keys.filter(|_| topic.config.spread_by_key);
        match keys.map(|key| shards.of_hash(key.low())).find(|shard| *shard != here) {
            None => Ok(()),
            Some(shard) => {
                let text = format!(
                    "topic {} is spread by key, and a message has a key of shard {shard}, not of this one, {here} of {}: publish each message on the shard of its key",
                    topic.name,
                    shards.count()
                );
                Err(Refusal::new(Reason::WrongShard, text))
            }
        }
    }

    /// Whether a topic with these settings, there or to be created, may pass messages on to that one.
    pub(crate) fn check_reachable(
        &self,
        (from, config): (&TopicName, &TopicConfig),
        to: TopicId,
    ) -> Result<(), Refusal> {
        let alone = |to: &&Topic| config.spread_by_key && !to.config.spread_by_key;
        match self.topics.get(&to).filter(alone).filter(|_| self.place.shards.are_several()) {
            None => Ok(()),
            Some(to) => Err(must_be_spread(&to.name, format_args!("topic {from} passes"))),
        }
    }

    /// The topic that takes what is passed on, or given up, on this shard.
    pub(crate) fn target_topic(&self, name: &TopicName, whose: impl Display) -> Result<TopicId, Refusal> {
        self.topic_id(name.as_str()).map_err(|refusal| match refusal.reason {
            Reason::WrongShard => must_be_spread(name, whose),
            _ => refusal,
        })
    }

    /// Whether a topic that is here may take the dead letters of a subscription, which is on every shard.
    pub(crate) fn check_dead_letters(&self, topic: TopicId, whose: impl Display) -> Result<(), Refusal> {
        let alone = |topic: &&Topic| self.place.shards.are_several() && !topic.config.spread_by_key;
        match self.topics.get(&topic).filter(alone) {
            None => Ok(()),
            Some(topic) => Err(must_be_spread(&topic.name, whose)),
        }
    }

    /// Why there is no such topic here.
    pub(crate) fn no_topic(&self, name: &str) -> Refusal {
        if self.place.is_home_of(name) {
            return Refusal::new(Reason::TopicNotFound, format!("there is no topic {name}: create it first"));
        }
        self.elsewhere(name)
    }

    fn elsewhere(&self, name: &str) -> Refusal {
        let (here, shards) = (self.place.shard, self.place.shards);
        let (home, count) = (shards.home_of(name), shards.count());
        let text = format!(
            "topic {name} is not on shard {here}: its home is shard {home} of {count}, unless it is spread by key"
        );
        Refusal::new(Reason::WrongShard, text)
    }

    /// A topic that does not belong here, or goes on to one that is not on every shard where it is.
    pub(super) fn misplaced(&self) -> Option<TopicId> {
        if !self.place.shards.are_several() {
            return None;
        }
        let mut topics = self.topics.values().filter(|topic| !topic.is_doomed());
        let wrong = |topic: &&Topic| {
            let alone = |id: TopicId| self.topics.get(&id).is_some_and(|to| !to.config.spread_by_key);
            let spread = topic.config.spread_by_key;
            let at_home = spread || self.place.is_home_of(topic.name.as_str());
            !at_home || (spread && self.next_topics(topic).any(alone))
        };
        topics.find(wrong).map(|topic| topic.id)
    }
}

fn must_be_spread(topic: &TopicName, whose: impl Display) -> Refusal {
    let text = format!(
        "{whose} messages on to topic {topic} on every shard, but that lies on one: create topic {topic} spread by key, or use another one"
    );
    Refusal::new(Reason::CrossShard, text)
}
