//! A shard as rows, and back. The shapes of the rows are in [`crate::rows`].

use super::due::Due;
use super::{Binding, Block, Closing, Consumer, Shard, Subscription};
use crate::rows::binding::BindingRow;
use crate::rows::{self, LoadError, RowKey, page::POSITIONS_PER_PAGE};
use quorate_types::{SessionId, SubscriptionId, TopicId};
use std::collections::BTreeSet;

impl Shard {
    /// The value of a row; `None` when there is none, and for the kinds that are not a shard's.
    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        let topic = |id| self.topics.get(&id);
        match key {
            RowKey::Topic(id) => topic(id).map(rows::topic::encode),
            RowKey::Binding(t, s, number) => {
                let selectors = topic(t)?.bindings.get(&s)?;
                let found = selectors.iter().find(|(_, binding)| binding.number == number);
                found.map(|(selector, binding)| rows::binding::encode(selector, binding.from))
            }
            RowKey::TopicBinding(from, to, number) => {
                let found = topic(from)?.onward.get(&to)?.iter().find(|(_, n)| **n == number);
                found.map(|(filter, _)| rows::topic_binding::encode(filter))
            }
            RowKey::Block(id, first) => topic(id)?.blocks.get(&first).map(rows::block::encode),
            RowKey::Times(id, first) => {
                topic(id)?.blocks.get(&first)?.times.as_deref().map(rows::times::encode)
            }
            RowKey::CatchUp(t, s) => topic(t)?.catching_up.get(&s).map(rows::catch_up::encode),
            RowKey::Newest(id, page) => rows::newest::encode(&topic(id)?.newest, page),
            RowKey::MessageIds(id, page) => rows::message_ids::encode(&topic(id)?.message_ids, page),
            RowKey::Subscription(id) => self.subscriptions.get(&id).map(rows::subscription::encode),
            RowKey::Page(id, page) => rows::page::encode(self.subscriptions.get(&id)?, page),
            RowKey::Consumer(id) => self.consumers.get(&id).map(rows::consumer::encode),
            RowKey::Mark(id, number) => {
                let mut marks = self.subscriptions.get(&id)?.marks.iter();
                marks
                    .find(|(_, mark)| mark.number == number)
                    .map(|(name, mark)| rows::mark::encode(name, mark))
            }
            RowKey::Restore => self.restoring.as_ref().map(rows::restore::encode),
            RowKey::Closing => Some(&self.closing)
                .filter(|c| **c != Closing::default())
                .map(|c| rows::closing::encode(c, self.place)),
            _ => None,
        }
    }

    /// The keys of all rows, in order.
    pub(crate) fn keys(&self) -> BTreeSet<RowKey> {
        let mut keys = BTreeSet::new();
        for topic in self.topics.values() {
            keys.insert(RowKey::Topic(topic.id));
            let bindings = topic.bindings.iter().flat_map(|(s, f)| f.values().map(move |b| (s, b)));
            keys.extend(bindings.map(|(s, binding)| RowKey::Binding(topic.id, *s, binding.number)));
            let onward = topic.onward.iter().flat_map(|(to, f)| f.values().map(move |number| (*to, *number)));
            keys.extend(onward.map(|(to, number)| RowKey::TopicBinding(topic.id, to, number)));
            keys.extend(topic.catching_up.keys().map(|s| RowKey::CatchUp(topic.id, *s)));
            keys.extend(topic.blocks.keys().map(|first| RowKey::Block(topic.id, *first)));
            let gathered = topic.blocks.iter().filter(|(_, block)| block.times.is_some());
            keys.extend(gathered.map(|(first, _)| RowKey::Times(topic.id, *first)));
            keys.extend(topic.newest.pages().into_iter().map(|page| RowKey::Newest(topic.id, page)));
            keys.extend(topic.message_ids.pages().map(|page| RowKey::MessageIds(topic.id, page)));
        }
        for subscription in self.subscriptions.values() {
            keys.insert(RowKey::Subscription(subscription.id));
            let positions = subscription.ready.keys().chain(subscription.leases.keys());
            let positions = positions.chain(subscription.delayed.keys());
            keys.extend(positions.map(|p| subscription.page(*p)));
            keys.extend(subscription.marks.values().map(|mark| RowKey::Mark(subscription.id, mark.number)));
        }
        keys.extend(self.consumers.values().map(Consumer::row));
        keys.extend((self.closing != Closing::default()).then_some(RowKey::Closing));
        keys.extend(self.restoring.map(|_| RowKey::Restore));
        keys
    }

    /// Takes one row back. Rows come in the order of their keys: a block after its topic, a consumer after its
    /// subscription.
    pub(crate) fn load_row(&mut self, key: RowKey, bytes: &[u8]) -> Result<(), LoadError> {
        let bad = |source| LoadError::value(key, source);
        match key {
            RowKey::Topic(id) => {
                let topic = rows::topic::decode(id, bytes).map_err(bad)?;
                if topic.is_doomed() {
                    self.doomed.insert(id);
                } else {
                    self.topic_names.insert(topic.name.clone(), id);
                }
                self.topics.insert(id, topic);
            }
            RowKey::Binding(topic, subscription, number) => {
                let BindingRow { selector, from } = rows::binding::decode(bytes).map_err(bad)?;
                let topic = self.topics.get_mut(&topic).ok_or_else(|| LoadError::dangling(key))?;
                topic.bindings.entry(subscription).or_default().insert(selector, Binding { number, from });
            }
            RowKey::TopicBinding(from, to, number) => {
                let filter = rows::topic_binding::decode(bytes).map_err(bad)?;
                let is_there = |id| self.topics.get(&id).is_some_and(|topic| !topic.is_doomed());
                if !is_there(from) || !is_there(to) {
                    return Err(LoadError::dangling(key));
                }
                let topic = self.topics.get_mut(&from).ok_or_else(|| LoadError::dangling(key))?;
                topic.onward.entry(to).or_default().insert(filter, number);
            }
            RowKey::Block(..) | RowKey::Times(..) => self.load_block_row(key, bytes)?,
            RowKey::Subscription(id) => {
                let subscription = rows::subscription::decode(id, bytes).map_err(bad)?;
                if !subscription.doomed {
                    self.subscription_names.insert(subscription.name.clone(), id);
                }
                self.subscriptions.insert(id, subscription);
            }
            RowKey::Page(id, page) => self.load_page(key, id, page, bytes)?,
            RowKey::Consumer(id) => {
                let consumer = rows::consumer::decode(id, bytes).map_err(bad)?;
                if !self.subscriptions.contains_key(&consumer.subscription) {
                    return Err(LoadError::dangling(key));
                }
                self.consumers.insert(id, consumer);
            }
            RowKey::CatchUp(topic, subscription) => {
                let catch_up = rows::catch_up::decode(bytes).map_err(bad)?;
                let topic = self.topics.get_mut(&topic).ok_or_else(|| LoadError::dangling(key))?;
                if topic.is_doomed() || !topic.bindings.contains_key(&subscription) {
                    return Err(LoadError::dangling(key));
                }
                topic.catching_up.insert(subscription, catch_up);
            }
            RowKey::Mark(id, number) => {
                let (name, mark) = rows::mark::decode(number, bytes).map_err(bad)?;
                let subscription = self.subscriptions.get_mut(&id).filter(|s| !s.doomed);
                let marks = &mut subscription.ok_or_else(|| LoadError::dangling(key))?.marks;
                if marks.insert(name, mark).is_some() {
                    return Err(LoadError::contradiction(key));
                }
            }
            RowKey::Newest(..) | RowKey::MessageIds(..) => self.load_keys_or_ids(key, bytes)?,
            RowKey::Closing => (self.closing, self.place) = rows::closing::decode(bytes).map_err(bad)?,
            RowKey::Restore => self.restoring = Some(rows::restore::decode(bytes).map_err(bad)?),
            _ => return Err(LoadError::Key(key.encode())),
        }
        Ok(())
    }

    /// A block, or when its messages were stored.
    fn load_block_row(&mut self, key: RowKey, bytes: &[u8]) -> Result<(), LoadError> {
        let bad = |source| LoadError::value(key, source);
        match key {
            RowKey::Block(topic, first) => {
                self.load_block(key, (topic, first), rows::block::decode(bytes).map_err(bad)?)
            }
            RowKey::Times(topic, first) => {
                let times = rows::times::decode(bytes).map_err(bad)?;
                let topic = self.topics.get_mut(&topic).ok_or_else(|| LoadError::dangling(key))?;
                let block = topic.blocks.get_mut(&first).ok_or_else(|| LoadError::dangling(key))?;
                if block.take_times(times) { Ok(()) } else { Err(LoadError::contradiction(key)) }
            }
            _ => Ok(()),
        }
    }

    /// A restore brings those of a topic in any order.
    pub(crate) fn load_block(
        &mut self,
        key: RowKey,
        (topic, first): (TopicId, u64),
        block: Block,
    ) -> Result<(), LoadError> {
        let topic = self.topics.get_mut(&topic).ok_or_else(|| LoadError::dangling(key))?;
        let before =
            topic.blocks.range(..=first).next_back().map_or(0, |(first, b)| first + u64::from(b.count));
        let after = topic.blocks.range(first..).next().map_or(topic.next_offset, |(first, _)| *first);
        let end = first.checked_add(u64::from(block.count)).filter(|end| *end <= after);
        let known = topic.blocks.contains_key(&first);
        if known || first < before || end.is_none() || block.begin > topic.appended {
            return Err(LoadError::contradiction(key));
        }
        topic.bytes += u64::from(block.bytes);
        topic.messages += u64::from(block.count);
        if block.live == 0 {
            topic.settled.insert(first);
        }
        *self.entries.entry(block.index).or_default() += 1;
        topic.blocks.insert(first, block);
        Ok(())
    }

    fn load_keys_or_ids(&mut self, key: RowKey, bytes: &[u8]) -> Result<(), LoadError> {
        let bad = |source| LoadError::value(key, source);
        let (RowKey::Newest(id, page) | RowKey::MessageIds(id, page)) = key else { return Ok(()) };
        let topic = self.topics.get_mut(&id).ok_or_else(|| LoadError::dangling(key))?;
        let fits = match key {
            RowKey::Newest(..) => topic.load_newest(page, rows::newest::decode(bytes).map_err(bad)?),
            _ => topic.message_ids.load(page, rows::message_ids::decode(bytes).map_err(bad)?),
        };
        if fits { Ok(()) } else { Err(LoadError::contradiction(key)) }
    }

    fn load_page(
        &mut self,
        key: RowKey,
        id: SubscriptionId,
        page: u64,
        bytes: &[u8],
    ) -> Result<(), LoadError> {
        let page_start = page.checked_mul(POSITIONS_PER_PAGE).ok_or_else(|| LoadError::contradiction(key))?;
        let page = rows::page::decode(bytes).map_err(|source| LoadError::value(key, source))?;
        let subscription = self.subscriptions.get_mut(&id).ok_or_else(|| LoadError::dangling(key))?;
        let fits = |subscription: &Subscription, position: u64, offset: u64, count: u64| {
            position.checked_add(count).is_some_and(|end| end <= subscription.next_position)
                && offset.checked_add(count).is_some()
                && count > 0
        };
        for (place, run) in page.ready {
            let position = page_start.saturating_add(u64::from(place));
            let is_there = subscription.ready.contains_key(&position);
            if is_there || !fits(subscription, position, run.offset, run.count) {
                return Err(LoadError::contradiction(key));
            }
            subscription.ledger.ready = subscription.ledger.ready.saturating_add(run.count);
            subscription.insert_run(position, run);
        }
        for (place, lease) in page.leases {
            let position = page_start.saturating_add(u64::from(place));
            let is_there = subscription.leases.contains_key(&position);
            if is_there || !fits(subscription, position, lease.offset, lease.count) {
                return Err(LoadError::contradiction(key));
            }
            subscription.ledger.leased = subscription.ledger.leased.saturating_add(lease.count);
            subscription.insert_lease(position, lease);
        }
        for (place, delayed) in page.delayed {
            let position = page_start.saturating_add(u64::from(place));
            let is_there = subscription.delayed.contains_key(&position);
            if is_there || !fits(subscription, position, delayed.run.offset, delayed.run.count) {
                return Err(LoadError::contradiction(key));
            }
            subscription.ledger.delayed = subscription.ledger.delayed.saturating_add(delayed.run.count);
            subscription.insert_delayed(position, delayed);
        }
        Ok(())
    }

    /// Rebuilds what is derived from several kinds of rows, when all are there. `is_open`: whether a session is.
    pub(crate) fn loaded(&mut self, is_open: impl Fn(SessionId) -> bool) -> Result<(), LoadError> {
        if self.is_closed() && !(self.topics.is_empty() && self.subscriptions.is_empty()) {
            return Err(LoadError::contradiction(RowKey::Closing));
        }
        let half = self.topics.values().find(|topic| !topic.message_ids.is_whole());
        if let Some(topic) = half {
            return Err(LoadError::contradiction(RowKey::Topic(topic.id)));
        }
        self.link_bindings()?;
        self.check_topics_passed_to()?;
        for subscription in self.subscriptions.values_mut() {
            if !subscription.doomed {
                self.limited.add(&subscription.config);
            }
            if !subscription.ledger.is_conserved() {
                return Err(LoadError::contradiction(RowKey::Subscription(subscription.id)));
            }
            if subscription.missing_dead_letter_topic(&self.topic_names).is_some() {
                return Err(LoadError::dangling(RowKey::Subscription(subscription.id)));
            }
            for (position, lease) in &subscription.leases {
                match self.consumers.get_mut(&lease.consumer) {
                    Some(holder) if holder.subscription == subscription.id => {
                        holder.outstanding = holder.outstanding.saturating_add(lease.count);
                        holder.leases.insert(*position);
                    }
                    _ if subscription.doomed => {}
                    _ => return Err(LoadError::dangling(subscription.page(*position))),
                }
            }
        }
        self.link_identities()?;
        for consumer in self.consumers.values() {
            if !is_open(consumer.id.session) {
                self.leaving.insert(consumer.id.session);
                continue;
            }
            if let Some(subscription) = self.subscriptions.get_mut(&consumer.subscription) {
                subscription.join(consumer);
            }
        }
        self.compaction = self.compaction_anew();
        self.schedule_all();
        Ok(())
    }

    fn link_bindings(&mut self) -> Result<(), LoadError> {
        for topic in self.topics.values() {
            if let Some(id) = topic.missing_cursor() {
                return Err(LoadError::dangling(RowKey::CatchUp(topic.id, id)));
            }
            for (id, filters) in &topic.bindings {
                let subscription = self.subscriptions.get_mut(id);
                let subscription =
                    subscription.ok_or_else(|| LoadError::dangling(RowKey::Topic(topic.id)))?;
                subscription.topics.insert(topic.id);
                subscription.bindings += u32::try_from(filters.len()).unwrap_or(u32::MAX);
            }
        }
        Ok(())
    }

    /// That nothing is passed on to a topic that is not there, and nothing comes back.
    fn check_topics_passed_to(&self) -> Result<(), LoadError> {
        let wrong = self.missing_alternate().or_else(|| self.topic_in_a_loop());
        wrong.map_or(Ok(()), |topic| Err(LoadError::contradiction(RowKey::Topic(topic))))
    }

    fn link_identities(&mut self) -> Result<(), LoadError> {
        for consumer in self.consumers.values() {
            let subscription = self.subscriptions.get_mut(&consumer.subscription);
            let (Some(subscription), Some(identity)) = (subscription, consumer.identity) else { continue };
            if subscription.identities.insert(identity.token, consumer.id).is_some() {
                return Err(LoadError::contradiction(consumer.row()));
            }
        }
        Ok(())
    }

    fn schedule_all(&mut self) {
        let subscriptions: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        subscriptions.into_iter().for_each(|id| self.schedule_subscription(id));
        let topics: Vec<TopicId> = self.topics.keys().copied().collect();
        topics.into_iter().for_each(|id| self.schedule_topic(id));
        let leaving: Vec<SessionId> = self.leaving.iter().copied().collect();
        leaving.into_iter().for_each(|id| self.schedule(Due::Leave(id)));
        let pairs = self.topics.values().flat_map(|t| t.catching_up.keys().map(|s| Due::CatchUp(t.id, *s)));
        pairs.collect::<Vec<_>>().into_iter().for_each(|due| self.schedule(due));
    }
}
