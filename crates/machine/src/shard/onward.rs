//! Messages that a topic passes on to others: by its bindings to topics, and to its alternate topic what no binding selects.
//!
//! All of it happens in the entry that stores them. From the topic of the publish the topics behind it are gone through in an
//! order in which each comes after all that pass something on to it. So a topic gets a message once, whatever ways lead there,
//! and what no binding of it selects is known when its turn comes.

use super::stretches::{self, Stretch, both, selected, union, without};
use super::topic::Piece;
use super::{Context, Shard, Topic};
use crate::applied::Appended;
use crate::config::TopicConfig;
use crate::publishes::Runs;
use crate::rows::RowKey;
use crate::shard::Block;
use quorate_types::probe;
use quorate_types::{Limits, Reason, Refusal, TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// A topic that gets something of a publish.
pub(crate) struct Reached {
    pub(crate) topic: TopicId,
    /// What it gets.
    pub(crate) here: Vec<Stretch>,
    /// What of it goes on from here.
    onward: Vec<Stretch>,
}

impl Reached {
    /// All `count` messages of a publish, which go nowhere else.
    pub(super) fn wholly(topic: TopicId, count: u64) -> Self {
        Self { topic, here: vec![(0, count)], onward: Vec::new() }
    }
}

impl Topic {
    /// Whether messages may go on from here to other topics.
    pub(crate) fn passes_on(&self) -> bool {
        !self.onward.is_empty() || self.config.alternate_topic.is_some()
    }
}

impl Shard {
    /// Which topics get what of a publish to the first one, each after all that pass something on to it.
    pub(crate) fn spread(&self, first: TopicId, runs: Runs<'_>) -> Vec<Reached> {
        let whole = vec![(0, runs.counts().map(u64::from).sum())];
        let mut to_come = BTreeMap::from([(first, whole)]);
        let mut spread = Vec::new();
        for topic in self.behind(first) {
            let Some((here, state)) = to_come.remove(&topic).zip(self.topics.get(&topic)) else { continue };
            let here =
                if probe::planted("what comes on two ways is stored twice") { here } else { union(here) };
            let mut onward = Vec::new();
            for (to, filters) in &state.onward {
                let selected = both(&here, &selected(filters.keys(), runs));
                onward.extend_from_slice(&selected);
                to_come.entry(*to).or_insert_with(Vec::new).extend(selected);
            }
            if let Some(alternate) = self.alternate(&state.config) {
                let mut matched = onward.clone();
                for selectors in state.bindings.values() {
                    matched.extend(selected(selectors.keys().map(|s| &s.filter), runs));
                }
                let rest = without(&here, &union(matched));
                onward.extend_from_slice(&rest);
                to_come.entry(alternate).or_insert_with(Vec::new).extend(rest);
            }
            if !here.is_empty() {
                spread.push(Reached { topic, here, onward: union(onward) });
            }
        }
        spread
    }

    /// As [`Shard::store`], for a topic that passes messages on.
    pub(crate) fn store_and_pass_on(
        &mut self,
        first: TopicId,
        runs: Runs<'_>,
        block: Block,
        ctx: &mut Context<'_>,
    ) -> Appended {
        let Some(state) = self.topics.get(&first) else { return Appended::default() };
        let (name, begin) = (state.name.clone(), state.next_offset);
        let mut appended = Appended::default();
        for Reached { topic, here, onward } in self.spread(first, runs) {
            if topic == first {
                appended = self.store_here(first, runs, block.clone(), &onward, ctx);
                continue;
            }
            for (start, count) in here {
                let begin_here = begin + start;
                let piece =
                    Piece { first: begin, block: &block, begin: begin_here, count, stamp: block.stamp };
                let Some(reference) = piece.reference(&name, None, ctx.now) else { continue };
                let from_here = both(&onward, &[(start, count)]);
                let from_here: Vec<Stretch> = from_here.into_iter().map(|(at, n)| (at - start, n)).collect();
                let part = stretches::part(runs, (start, count));
                self.store_here(topic, Runs::Listed(&part), reference, &from_here, ctx);
                ctx.spend_some(1);
            }
            probe::sometimes("message passed on to another topic");
        }
        appended
    }

    /// Refuses a mandatory publish if one of its messages is for no subscription.
    pub(crate) fn check_routable(&self, topic: &str, runs: Runs<'_>) -> Result<(), Refusal> {
        let mut matched = Vec::new();
        // A topic that is to be created has no bindings.
        let spread = self.topic_names.get(topic).map(|id| self.spread(id, runs)).unwrap_or_default();
        for Reached { topic, here, .. } in spread {
            for selectors in self.topics.get(&topic).into_iter().flat_map(|topic| topic.bindings.values()) {
                let selected = selected(selectors.keys().map(|s| &s.filter), runs);
                matched.extend(both(&here, &selected));
            }
        }
        let whole = (0, runs.counts().map(u64::from).sum());
        let Some((number, _)) = without(&[whole], &union(matched)).first().copied() else { return Ok(()) };
        probe::sometimes("mandatory publish refused");
        let part = stretches::part(runs, (number, 1));
        let subject = part.first().map_or("", |run| run.subject);
        let text = format!(
            "message {number} of the mandatory publish to topic {topic}, with the subject {subject:?}, is for no subscription, and nothing is stored: bind one, or publish without that"
        );
        Err(Refusal::new(Reason::Unroutable, text))
    }

    /// The alternate topic, if there is one: it cannot be deleted while it is used.
    fn alternate(&self, config: &TopicConfig) -> Option<TopicId> {
        config.alternate_topic.as_ref().and_then(|name| self.topic_names.get(name.as_str()))
    }

    /// To which topics messages may go from one, in one step.
    pub(super) fn next_topics<'a>(&'a self, topic: &'a Topic) -> impl Iterator<Item = TopicId> + 'a {
        topic.onward.keys().copied().chain(self.alternate(&topic.config))
    }

    /// A topic and all to which messages may go from it, each after those from which they come.
    fn behind(&self, topic: TopicId) -> Vec<TopicId> {
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        self.visit(topic, &mut seen, &mut order);
        order.reverse();
        order
    }

    /// Enters a topic after all that are behind it. It is as deep as topics may be reached, see [`Self::check_onward`].
    fn visit(&self, topic: TopicId, seen: &mut BTreeSet<TopicId>, order: &mut Vec<TopicId>) {
        if !seen.insert(topic) {
            return;
        }
        let next = self.topics.get(&topic).into_iter().flat_map(|topic| self.next_topics(topic));
        // The order is turned round: topics that do not depend on each other come as they were created.
        let next: BTreeSet<TopicId> = next.collect();
        next.into_iter().rev().for_each(|next| self.visit(next, seen, order));
        order.push(topic);
    }

    /// Whether messages of one topic may be passed on to another one: they must not come back (`BINDING_LOOP`), and must not be
    /// stored in too many topics (`LIMIT_REACHED`). `from`: `None` for a topic that is to be created.
    pub(crate) fn check_onward(
        &self,
        from: Option<TopicId>,
        to: TopicId,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let behind: BTreeSet<TopicId> = self.behind(to).into_iter().collect();
        if from.is_some_and(|from| behind.contains(&from)) {
            let name = |id| self.topic_name(id).map(ToString::to_string).unwrap_or_default();
            let (from, to) = (from.map(name).unwrap_or_default(), name(to));
            return Err(loops(&from, &to));
        }
        let max = limits.topics_reached_max as usize;
        let too_many = |topic: &&Topic| {
            let reached: BTreeSet<TopicId> = self.behind(topic.id).into_iter().collect();
            let before = from.is_some_and(|from| reached.contains(&from));
            // The topic itself is among them.
            before && reached.union(&behind).count() > max + 1
        };
        let mut passing = self.topics.values().filter(|topic| topic.passes_on() || Some(topic.id) == from);
        match passing.find(too_many) {
            None if behind.len() <= max => Ok(()),
            topic => {
                let topic = topic.map_or("the topic".to_owned(), |topic| format!("topic {}", topic.name));
                let text = format!(
                    "messages of {topic} would go on to more than {max} topics: bind subscriptions to fewer topics instead"
                );
                Err(Refusal::new(Reason::LimitReached, text))
            }
        }
    }

    /// Whether a topic of that name, there or to be created, may have these settings.
    pub(crate) fn check_alternate(
        &self,
        name: &TopicName,
        config: &TopicConfig,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let Some(alternate) = &config.alternate_topic else { return Ok(()) };
        if alternate == name {
            return Err(loops(name, name));
        }
        let to = self.target_topic(alternate, format_args!("topic {name} passes"))?;
        self.check_reachable((name, config), to)?;
        let from = self.topic_names.get(name.as_str());
        self.check_onward(from, to, limits)
    }

    /// The topic of that alternate topic, if there is one.
    pub(crate) fn alternate_of(&self, name: &TopicName) -> Option<&TopicName> {
        let mut topics = self.topics.values().filter(|topic| !topic.is_doomed());
        topics.find(|topic| topic.config.alternate_topic.as_ref() == Some(name)).map(|topic| &topic.name)
    }

    /// A topic whose alternate topic is not there, although it must be.
    pub(super) fn missing_alternate(&self) -> Option<TopicId> {
        let mut topics = self.topics.values().filter(|topic| !topic.is_doomed());
        let misses = |topic: &&Topic| {
            topic.config.alternate_topic.is_some() && self.alternate(&topic.config).is_none()
        };
        topics.find(misses).map(|topic| topic.id)
    }

    /// A topic whose messages come back to it, or go to one that is deleted.
    pub(super) fn topic_in_a_loop(&self) -> Option<TopicId> {
        let mut topics = self.topics.values().filter(|topic| topic.passes_on());
        let wrong = |topic: &&Topic| {
            let there = |id: TopicId| self.topics.get(&id).is_some_and(|topic| !topic.is_doomed());
            let mut next = self.next_topics(topic);
            let lost = topic.onward.keys().any(|id| !there(*id));
            !topic.is_doomed() && (lost || next.any(|next| self.behind(next).contains(&topic.id)))
        };
        topics.find(wrong).map(|topic| topic.id)
    }

    /// A topic is deleted: it passes nothing on, and gets nothing.
    pub(crate) fn unbind_topics(&mut self, id: TopicId, ctx: &mut Context<'_>) {
        let gone =
            self.topics.get_mut(&id).map(|topic| std::mem::take(&mut topic.onward)).unwrap_or_default();
        for (to, filters) in gone {
            filters.values().for_each(|number| ctx.touch(RowKey::TopicBinding(id, to, *number)));
        }
        for topic in self.topics.values_mut() {
            let gone = topic.onward.remove(&id).unwrap_or_default();
            gone.values().for_each(|number| ctx.touch(RowKey::TopicBinding(topic.id, id, *number)));
        }
    }
}

fn loops(from: impl std::fmt::Display, to: impl std::fmt::Display) -> Refusal {
    let text = format!(
        "messages of topic {from} cannot be passed on to topic {to}: from there they would come back to it"
    );
    Refusal::new(Reason::BindingLoop, text)
}
