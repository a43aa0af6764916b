//! The machine as rows, and back. The shapes of the rows are in [`crate::rows`].

use super::{Body, Machine};
use crate::commands::TooOld;
use crate::rows::{self, LoadError, RowKey, meta::Meta};
use quorate_types::probe;
use quorate_types::{GroupId, SessionId};
use std::collections::{BTreeMap, BTreeSet};

impl Machine {
    /// How many rows changed since the last call of [`Self::take_changes`].
    #[must_use]
    pub fn changed_rows(&self) -> usize {
        self.dirty.len()
    }

    /// The rows that changed since the last call, in order of keys; `None`: the row is gone. Values are at most
    /// 64 KiB (the answer to a settle with thousands of stale ranges alone may be some more).
    pub fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|key| (key.encode(), self.row(key))).collect()
    }

    /// All rows, in order of keys.
    #[must_use]
    pub fn image(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.keys().into_iter().filter_map(|key| Some((key.encode(), self.row(key)?))).collect()
    }

    /// Takes rows back, in any order. The machine that they were taken from and this one behave alike for ever.
    ///
    /// # Errors
    /// [`LoadError`] when a row is of another version, malformed, or refers to one that is missing.
    pub fn load(
        group: GroupId,
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, LoadError> {
        let mut machine = Self::new(group);
        let (mut sorted, mut unknown) = (BTreeMap::new(), None);
        for (bytes, value) in rows {
            match RowKey::decode(&bytes) {
                Some(key) => _ = sorted.insert(key, value),
                None => unknown = Some(bytes),
            }
        }
        for (key, value) in &sorted {
            machine.load_row(*key, value)?;
            // The first row says whether the state is that of a newer version, which may have rows that are unknown here.
            if let Some(unknown) = unknown.take() {
                return Err(LoadError::Key(unknown));
            }
        }
        if let Some(unknown) = unknown {
            return Err(LoadError::Key(unknown));
        }
        let sessions = &machine.sessions;
        if let Body::Shard(shard) = &mut machine.body {
            // Not all of its rows are there yet: its restore ends with this.
            if !shard.is_filling() {
                shard.loaded(|session| sessions.node(session).is_some())?;
            }
        }
        // A machine of no rows is new: its first checkpoint must write what it begins with.
        if !sorted.is_empty() {
            machine.dirty.clear();
        }
        Ok(machine)
    }

    fn keys(&self) -> BTreeSet<RowKey> {
        let mut keys = match &self.body {
            Body::Shard(shard) => shard.keys(),
            Body::System(system) => system.keys(),
        };
        keys.extend([RowKey::Meta, RowKey::Limits]);
        for (id, session) in self.sessions.iter() {
            keys.insert(RowKey::Session(*id));
            let of = session.pages_of(*id);
            keys.extend(session.answers.pages().keys().map(|page| RowKey::Answers(of, *page)));
        }
        let producers = &self.sessions.producers;
        keys.extend((!producers.gone().is_empty()).then_some(RowKey::GoneProducers));
        keys.extend((!producers.fenced().is_empty()).then_some(RowKey::FencedProducers));
        keys
    }

    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match (key, &self.body) {
            (RowKey::Meta, _) => Some(rows::meta::encode(&self.meta())),
            (RowKey::Limits, _) => Some(rows::limits::encode(&self.limits)),
            (RowKey::Session(id), _) => self.sessions.get(id).map(rows::session::encode),
            (RowKey::Answers(id, page), _) => {
                let owner = self.sessions.producers.by_first(id).unwrap_or(id);
                self.sessions.get(owner)?.answers.pages().get(&page).map(rows::answers::encode)
            }
            (RowKey::GoneProducers, _) => {
                let gone = self.sessions.producers.gone();
                (!gone.is_empty()).then(|| rows::gone_producers::encode(gone))
            }
            (RowKey::FencedProducers, _) => {
                let fenced = self.sessions.producers.fenced();
                (!fenced.is_empty()).then(|| rows::fenced_producers::encode(fenced))
            }
            (_, Body::Shard(shard)) => shard.row(key),
            (_, Body::System(system)) => system.row(key),
        }
    }

    fn meta(&self) -> Meta {
        let meta = Meta {
            applied: self.applied,
            now: self.now,
            hash: self.hash,
            version: self.version,
            last_session: self.sessions.last_id,
            ..Meta::default()
        };
        match &self.body {
            Body::Shard(s) => Meta {
                last_topic: s.last_topic,
                last_subscription: s.last_subscription,
                last_binding: s.last_binding,
                ..meta
            },
            Body::System(s) => Meta { last_namespace: s.last_namespace, last_group: s.last_group, ..meta },
        }
    }

    pub(crate) fn load_row(&mut self, key: RowKey, bytes: &[u8]) -> Result<(), LoadError> {
        let bad = |source| LoadError::value(key, source);
        match key {
            RowKey::Meta => self.load_meta(&rows::meta::decode(bytes).map_err(bad)?)?,
            RowKey::Limits => self.limits = rows::limits::decode(bytes).map_err(bad)?,
            RowKey::Session(id) => {
                let mut session = rows::session::decode(bytes).map_err(bad)?;
                if probe::planted("a snapshot forgets the numbers of sessions") {
                    session.last = 0;
                }
                if session.producer().is_some_and(|p| self.sessions.producer(&p.name).is_some()) {
                    return Err(LoadError::contradiction(key));
                }
                self.sessions.insert(id, session);
            }
            RowKey::GoneProducers => {
                self.sessions.producers.load_gone(rows::gone_producers::decode(bytes).map_err(bad)?);
            }
            RowKey::FencedProducers => {
                self.sessions.producers.load_fenced(rows::fenced_producers::decode(bytes).map_err(bad)?);
            }
            RowKey::Answers(id, first) => self.load_answers(key, id, first, bytes)?,
            _ => match &mut self.body {
                Body::Shard(shard) => shard.load_row(key, bytes)?,
                Body::System(system) => system.load_row(key, bytes)?,
            },
        }
        Ok(())
    }

    fn load_meta(&mut self, meta: &Meta) -> Result<(), LoadError> {
        if meta.version > Self::VERSION {
            return Err(LoadError::Newer(TooOld { needed: meta.version, known: Self::VERSION }));
        }
        self.version = meta.version;
        (self.applied, self.now, self.hash) = (meta.applied, meta.now, meta.hash);
        self.sessions.last_id = meta.last_session;
        match &mut self.body {
            Body::Shard(s) => {
                (s.last_topic, s.last_subscription) = (meta.last_topic, meta.last_subscription);
                s.last_binding = meta.last_binding;
            }
            Body::System(s) => (s.last_namespace, s.last_group) = (meta.last_namespace, meta.last_group),
        }
        Ok(())
    }

    fn load_answers(
        &mut self,
        key: RowKey,
        id: SessionId,
        first: u64,
        bytes: &[u8],
    ) -> Result<(), LoadError> {
        let page = rows::answers::decode(bytes).map_err(|source| LoadError::value(key, source))?;
        let owner = self.sessions.producers.by_first(id).unwrap_or(id);
        let session = self.sessions.get_mut(owner).ok_or_else(|| LoadError::dangling(key))?;
        if probe::planted("a snapshot forgets the numbers of sessions") {
            return Ok(());
        }
        let end = first.checked_add(u64::from(page.count));
        if page.count == 0 || end.is_none_or(|end| end - 1 > session.last) {
            return Err(LoadError::contradiction(key));
        }
        session.answers.insert(first, page);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_program_left_is_told_as_such_whatever_rows_it_has() {
        let load = |version| {
            let meta = rows::meta::encode(&Meta { version, ..Meta::default() });
            Machine::load(GroupId::SYSTEM, [(vec![255], vec![]), (RowKey::Meta.encode(), meta)]).err()
        };
        let (needed, known) = (Machine::VERSION + 1, Machine::VERSION);
        assert_eq!(load(needed), Some(LoadError::Newer(TooOld { needed, known })));
        assert_eq!(load(known), Some(LoadError::Key(vec![255])));
        let without = Machine::load(GroupId::SYSTEM, [(vec![255], vec![])]);
        assert_eq!(without.err(), Some(LoadError::Key(vec![255])));
    }
}
