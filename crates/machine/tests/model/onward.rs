//! The model's part of what topics pass on: message by message, each to a set of topics.

use crate::pair::{FILTERS, TOPICS};
use crate::returns::Letter;
use crate::shard::{Model, known};
use quorate_machine::{Answer, Appended, MessageOptions, PublishView, RunView, TopicConfig};
use quorate_types::{Filter, Reason, TopicName};
use std::collections::BTreeSet;

fn selects(filter: &str, subject: &str) -> bool {
    Filter::parse(filter).unwrap().matches(subject)
}

fn ttl_of(config: &TopicConfig) -> Option<u64> {
    config.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap())
}

impl Model {
    pub(crate) fn create_topic(&mut self, topic: &TopicName, config: &TopicConfig) -> Result<Answer, Reason> {
        let name = known(&TOPICS, topic.as_str());
        let alternate = config.alternate_topic.as_ref().map(|to| known(&TOPICS, to.as_str()));
        if self.topics.contains_key(name) {
            let alike = (self.alternates.get(name).copied(), self.ttl.get(name).copied());
            let same = !self.made.contains(name)
                && alike == (alternate, ttl_of(config))
                && self.ids.windows.get(name) == config.message_id_window.as_ref();
            return if same { Ok(Answer::Done) } else { Err(Reason::TopicExists) };
        }
        self.check_open()?;
        self.check_alternate(name, alternate)?;
        self.add_topic(name);
        self.alternates.extend(alternate.map(|to| (name, to)));
        self.ttl.extend(ttl_of(config).map(|ttl| (name, ttl)));
        self.set_window(name, config.message_id_window);
        Ok(Answer::Done)
    }

    pub(crate) fn configure_topic(
        &mut self,
        topic: &TopicName,
        config: &TopicConfig,
    ) -> Result<Answer, Reason> {
        let name = known(&TOPICS, topic.as_str());
        let alternate = config.alternate_topic.as_ref().map(|to| known(&TOPICS, to.as_str()));
        self.topics.get(name).ok_or(Reason::TopicNotFound)?;
        self.check_alternate(name, alternate)?;
        self.alternates.remove(name);
        self.alternates.extend(alternate.map(|to| (name, to)));
        self.ttl.remove(name);
        self.ttl.extend(ttl_of(config).map(|ttl| (name, ttl)));
        self.set_window(name, config.message_id_window);
        Ok(Answer::Done)
    }

    fn check_alternate(&self, name: &'static str, alternate: Option<&'static str>) -> Result<(), Reason> {
        let Some(to) = alternate else { return Ok(()) };
        if name == to {
            return Err(Reason::BindingLoop);
        }
        self.topics.get(to).ok_or(Reason::TopicNotFound)?;
        if self.reaches(to, name) { Err(Reason::BindingLoop) } else { Ok(()) }
    }

    pub(crate) fn bind_topic(&mut self, from: &str, to: &str, filter: &Filter) -> Result<Answer, Reason> {
        let binding = self.topic_binding(from, to, filter)?;
        let (from, to, _) = binding;
        if !self.onward.contains(&binding) && (from == to || self.reaches(to, from)) {
            return Err(Reason::BindingLoop);
        }
        self.onward.insert(binding);
        Ok(Answer::Done)
    }

    pub(crate) fn unbind_topic(&mut self, from: &str, to: &str, filter: &Filter) -> Result<Answer, Reason> {
        let binding = self.topic_binding(from, to, filter)?;
        if self.onward.remove(&binding) { Ok(Answer::Done) } else { Err(Reason::BindingNotFound) }
    }

    fn topic_binding(
        &self,
        from: &str,
        to: &str,
        filter: &Filter,
    ) -> Result<(&'static str, &'static str, &'static str), Reason> {
        let (from, to) = (known(&TOPICS, from), known(&TOPICS, to));
        let there = self.topics.contains_key(from) && self.topics.contains_key(to);
        if there { Ok((from, to, known(&FILTERS, filter.as_str()))) } else { Err(Reason::TopicNotFound) }
    }

    /// Whether messages may come from one topic to another one.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let bound = self.onward.iter().filter(|(f, ..)| *f == from).map(|(_, to, _)| *to);
        let mut next = bound.chain(self.alternates.get(from).copied());
        next.any(|next| next == to || self.reaches(next, to))
    }

    /// Whether a binding to a subscription selects the subject, whatever headers it asks for.
    fn is_wanted(&self, topic: &str, subject: &str) -> bool {
        self.queues.values().any(|queue| queue.selects(topic, subject))
    }

    /// The topics that get a message of that subject.
    pub(crate) fn reached(&self, first: &'static str, subject: &str) -> BTreeSet<&'static str> {
        let (mut reached, mut left) = (BTreeSet::new(), vec![first]);
        while let Some(topic) = left.pop() {
            reached.insert(topic);
            let bound =
                self.onward.iter().filter(|(from, _, filter)| *from == topic && selects(filter, subject));
            let mut next: Vec<&'static str> = bound.map(|(_, to, _)| *to).collect();
            if next.is_empty() && !self.is_wanted(topic, subject) {
                next.extend(self.alternates.get(topic));
            }
            left.extend(next);
        }
        reached
    }

    pub(crate) fn check_routable(&self, publish: &PublishView<'_>) -> Result<(), Reason> {
        let name = known(&TOPICS, publish.topic);
        let subscribed =
            |subject: &str| self.reached(name, subject).iter().any(|topic| self.is_wanted(topic, subject));
        let mut runs = publish.runs;
        let routable = !publish.mandatory || runs.all(|run| subscribed(run.subject));
        if routable { Ok(()) } else { Err(Reason::Unroutable) }
    }

    /// Every other message of a topic has the header. Topics that get something come after those from which they get it, and
    /// else in the order of their creation.
    pub(crate) fn publish(&mut self, publish: &PublishView<'_>) -> Result<Appended, Reason> {
        let name = known(&TOPICS, publish.topic);
        self.check_options(publish)?;
        let (_, stored) = self.topics.get(name).ok_or(Reason::TopicNotFound)?;
        if let Some(first) = self.published_before(publish)? {
            return Ok(first);
        }
        self.check_routable(publish)?;
        self.check_backlogs(publish)?;
        let first = stored.len() as u64;
        let each = publish.runs.flat_map(|run| (0..run.count).map(move |_| run));
        let (timed, at) = (publish.runs.into_iter().any(|run| run.options.have_times()), self.now);
        let store = |(offset, run): (u64, RunView<'_>)| {
            let (subject, marked, options) = (run.subject.to_owned(), offset % 2 == 0, run.options);
            Stored { subject, marked, options, at, timed, letter: false }
        };
        let messages: Vec<Stored> = (first..).zip(each).map(store).collect();
        let ways: Vec<BTreeSet<&'static str>> =
            messages.iter().map(|message| self.reached(name, &message.subject)).collect();
        let mut left: Vec<&'static str> =
            TOPICS.into_iter().filter(|t| self.topics.contains_key(t)).collect();
        left.sort_unstable_by_key(|topic| self.topics[topic].0);
        let mut appended = None;
        while !left.is_empty() {
            let free = |topic: &str| !left.iter().any(|other| self.reaches(other, topic));
            let next = left.remove(left.iter().position(|topic| free(topic)).unwrap());
            let here = messages.iter().zip(&ways).enumerate().filter(|(_, (_, ways))| ways.contains(next));
            let (numbers, here): (Vec<usize>, Vec<Stored>) = here.map(|(n, (m, _))| (n, m.clone())).unzip();
            let stored = self.append(next, &here).unwrap();
            if next == name {
                appended = Some(stored);
                continue;
            }
            for (offset, number) in (stored.first_offset..).zip(numbers) {
                let (topic, at) = (name.to_owned(), first + number as u64);
                let letter = Letter { topic, offset: at, stored: self.now, death: None };
                self.letters.insert((self.topics[next].0, offset), letter);
            }
        }
        let appended = appended.ok_or(Reason::TopicNotFound)?;
        self.remember(publish, &appended);
        Ok(appended)
    }
}

/// What is known of a stored message.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    /// Whether it has the header that some bindings ask for.
    pub(crate) marked: bool,
    pub(crate) options: MessageOptions,
    pub(crate) at: u64,
    /// It was published with one that has a time of its own.
    pub(crate) timed: bool,
    /// It died before.
    pub(crate) letter: bool,
}
