//! The model's part of message ids: the first answer of each, by topic and id.

use crate::pair::{Pair, TOPICS};
use crate::shard::{Model, known};
use quorate_machine::{Appended, KeyHash, MessageOptions, PublishView};
use quorate_types::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known by its id.
#[derive(Clone, Default)]
pub(crate) struct Ids {
    pub(crate) windows: BTreeMap<&'static str, Duration>,
    /// With the time at which each was stored.
    pub(crate) known: BTreeMap<(&'static str, KeyHash), (u64, Appended)>,
}

fn message_id(publish: &PublishView<'_>) -> Option<KeyHash> {
    publish.runs.map(|run| run.options.message_id).find(|id| id.is_some())
}

impl Model {
    pub(crate) fn check_options(&self, publish: &PublishView<'_>) -> Result<(), Reason> {
        let mut runs = publish.runs;
        let wrong = runs.any(|run| run.options.priority > MessageOptions::PRIORITY_MAX);
        if wrong { Err(Reason::InvalidArgument) } else { Ok(()) }
    }

    fn is_over(&self, topic: &str, stored: u64) -> bool {
        let window =
            self.ids.windows.get(topic).map_or(0, |window| u64::try_from(window.as_millis()).unwrap());
        stored + window <= self.now
    }

    /// What is over is forgotten before the window changes.
    pub(crate) fn set_window(&mut self, name: &'static str, window: Option<Duration>) {
        let over: Vec<_> = self.ids.known.iter().filter(|((topic, _), _)| *topic == name).collect();
        let over = over.into_iter().filter(|(_, (stored, _))| self.is_over(name, *stored));
        let over: Vec<(&'static str, KeyHash)> = over.map(|(key, _)| *key).collect();
        self.ids.known.retain(|key, _| !over.contains(key));
        match window {
            Some(window) => {
                self.ids.windows.insert(name, window);
            }
            None => {
                self.ids.windows.remove(name);
                self.ids.known.retain(|(topic, _), _| *topic != name);
            }
        }
    }

    pub(crate) fn published_before(&self, publish: &PublishView<'_>) -> Result<Option<Appended>, Reason> {
        let name = known(&TOPICS, publish.topic);
        let Some(id) = message_id(publish).filter(|_| self.ids.windows.contains_key(name)) else {
            return Ok(None);
        };
        if publish.count() > 1 {
            return Err(Reason::InvalidArgument);
        }
        let first = self.ids.known.get(&(name, id)).filter(|(stored, _)| !self.is_over(name, *stored));
        Ok(first.map(|(_, first)| *first))
    }

    /// Whether no publish before it has its id, in one commit.
    pub(crate) fn is_new_id(
        &self,
        publish: &PublishView<'_>,
        ids: &mut BTreeSet<(&'static str, KeyHash)>,
    ) -> bool {
        let name = known(&TOPICS, publish.topic);
        let id = message_id(publish).filter(|_| self.ids.windows.contains_key(name));
        id.is_none_or(|id| ids.insert((name, id)))
    }

    pub(crate) fn remember(&mut self, publish: &PublishView<'_>, appended: &Appended) {
        let name = known(&TOPICS, publish.topic);
        let Some(id) = message_id(publish).filter(|_| self.ids.windows.contains_key(name)) else { return };
        let first = Appended { duplicate_of: Some(self.entry), ..*appended };
        self.ids.known.insert((name, id), (self.now, first));
    }
}

impl Pair {
    /// As many as there are within the window, and none after ticks that is over.
    pub(crate) fn compare_message_ids(&self) {
        for name in self.model.topics.keys() {
            let found = self.driver.topic_view(name).message_ids;
            let known = self.model.ids.known.iter().filter(|((topic, _), _)| topic == name);
            let within = known.filter(|(_, (stored, _))| !self.model.is_over(name, *stored)).count() as u64;
            assert!(found >= within, "topic {name} remembers {found} of {within} message ids");
            if self.driver.machine.next_due().is_none_or(|at| at.get() > self.driver.time) {
                assert_eq!(found, within, "message ids of {name}");
            }
        }
    }
}
