//! How a namespace is laid out over shards, as far as a client has asked.
//!
//! A client that says no shard is right where there is one, and is told `WRONG_SHARD` where there are several: so nothing is asked
//! for before that. What a publisher must know with each message is kept, until a node says that it is not so any more. What
//! is kept wrongly costs a refusal: the shards themselves refuse what does not belong on them. Changes, consumers and readers
//! would leave a shard out by a wrong number, so they ask each time.

use crate::client::Client;
use crate::error::CallError;
use quorate_types::{NamespaceName, Reason, Refusal, Shards};
use quorate_wire::{Scope, v1};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Topics of which it is kept whether they are spread. A client that publishes to more asks for some of them again.
const TOPICS_MAX: usize = 10_000;

/// Of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// How many shards it has; 0: not known.
    shards: AtomicU32,
    spread: Mutex<BTreeMap<String, bool>>,
}

impl Layout {
    /// Of the namespace of that name, of which `default` has one shard, always.
    pub(crate) fn of(namespace: &str) -> Self {
        let is_default = namespace.is_empty() || namespace == NamespaceName::DEFAULT;
        Self { shards: AtomicU32::new(u32::from(is_default)), spread: Mutex::default() }
    }

    /// How many shards, if it is known.
    pub(crate) fn shards(&self) -> Option<Shards> {
        Shards::new(self.shards.load(Ordering::Relaxed)).ok()
    }

    fn note_shards(&self, shards: Shards) {
        self.shards.store(shards.count(), Ordering::Relaxed);
    }

    /// Something is not where it was said to be.
    pub(crate) fn forget(&self) {
        self.shards.store(0, Ordering::Relaxed);
        self.spread().clear();
    }

    fn spread(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_spread(&self, topic: &str) -> Option<bool> {
        self.spread().get(topic).copied()
    }

    fn note_spread(&self, topic: &str, is_spread: bool) {
        let mut spread = self.spread();
        if spread.len() >= TOPICS_MAX {
            spread.clear();
        }
        spread.insert(topic.to_owned(), is_spread);
    }
}

impl Client {
    /// The same client for one shard of the namespace, counted from 0: what it asks for is about that shard alone, and its
    /// consumers, readers, publishers and producers are of that shard.
    #[must_use]
    pub fn on_shard(&self, shard: u32) -> Self {
        Self { shard: Some(shard), ..self.alike() }
    }

    /// The shard that this client is for, if it is for one: [`Client::on_shard`].
    #[must_use]
    pub fn shard(&self) -> Option<u32> {
        self.shard
    }

    /// How many shards the namespace has.
    ///
    /// # Errors
    /// [`CallError`]: `NAMESPACE_NOT_FOUND`, or no answer.
    pub async fn shards(&self) -> Result<Shards, CallError> {
        let request = v1::DescribeNamespaceRequest { namespace: self.here() };
        let called =
            self.admin(request, |mut admin, request| async move { admin.describe_namespace(request).await });
        let groups = called.await.result?.namespace.unwrap_or_default().groups.len();
        let shards = Shards::new(u32::try_from(groups).unwrap_or(u32::MAX)).map_err(|error| {
            CallError::Refused(Refusal::new(Reason::NotReady, format!("a newer cluster: {error}")))
        })?;
        self.layout.note_shards(shards);
        Ok(shards)
    }

    /// Whether nothing is known that speaks against asking without a shard.
    pub(crate) fn seems_alone(&self) -> bool {
        self.shard.is_some() || self.layout.shards().is_none_or(|shards| !shards.are_several())
    }

    /// Its client for one shard, always the same.
    pub(crate) fn part(&self, shard: u32) -> Self {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.entry(shard).or_insert_with(|| self.on_shard(shard)).clone()
    }

    /// A client for each shard, in order; itself where it is for one, or there is one.
    pub(crate) async fn each_shard(&self) -> Result<Vec<Self>, CallError> {
        if self.shard.is_some() {
            return Ok(vec![self.clone()]);
        }
        let shards = self.shards().await?;
        Ok(if shards.are_several() {
            shards.numbers().map(|n| self.part(n)).collect()
        } else {
            vec![self.clone()]
        })
    }

    /// Of several shards those that a change concerns, in order.
    pub(crate) async fn shards_of(&self, scope: Scope<'_>) -> Result<Vec<Self>, CallError> {
        let shards = self.shards().await?;
        if !shards.are_several() {
            return Ok(vec![self.clone()]);
        }
        let is_spread = match scope.topic() {
            Some(topic) => self.ask_spread(shards, topic).await?,
            None => None,
        };
        let concerned = scope.shards(shards, is_spread).map_err(CallError::Refused)?;
        Ok(concerned.into_iter().map(|shard| self.part(shard)).collect())
    }

    /// The shard of a message with that key (or, without one, that id) to a topic; `None`: of several shards any one. As far
    /// as it is kept.
    pub(crate) async fn shard_of_message(
        &self,
        topic: &str,
        key: &[u8],
        id: &str,
    ) -> Result<Option<u32>, CallError> {
        let shards = self.kept_shards().await?;
        let is_spread = match self.layout.is_spread(topic) {
            Some(is_spread) => is_spread,
            None => {
                let found = self.ask_spread(shards, topic).await?;
                if let Some(is_spread) = found {
                    self.layout.note_spread(topic, is_spread);
                }
                // A topic that is not there comes to be on its home, if it does.
                found.unwrap_or(false)
            }
        };
        if !is_spread {
            return Ok(Some(shards.home_of(topic)));
        }
        // The same message comes to the same shard when it is sent again, where its id is known.
        Ok(shards.of_key(key).or_else(|| shards.of_key(id.as_bytes())))
    }

    /// How many shards there are, if it is kept.
    pub(crate) fn kept_shard_count(&self) -> Option<Shards> {
        self.layout.shards()
    }

    /// How many shards there are, as far as it is kept.
    pub(crate) async fn kept_shards(&self) -> Result<Shards, CallError> {
        match self.layout.shards() {
            Some(shards) => Ok(shards),
            None => self.shards().await,
        }
    }

    /// Whether a topic is spread over all shards, as its home has it now; `None`: there is none.
    async fn ask_spread(&self, shards: Shards, topic: &str) -> Result<Option<bool>, CallError> {
        match self.part(shards.home_of(topic)).describe_topic(topic).await {
            Ok(found) => {
                let config = found.topic.unwrap_or_default().config.unwrap_or_default();
                Ok(Some(config.spread_by_key))
            }
            Err(CallError::Refused(refusal)) if refusal.reason == Reason::TopicNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether a refusal says that a namespace has several shards, or others than was thought.
pub(crate) fn is_elsewhere<T>(result: &Result<T, CallError>) -> bool {
    matches!(result, Err(CallError::Refused(refusal)) if refusal.reason == Reason::WrongShard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_forgotten_together_and_of_default_all_is_known() {
        let layout = Layout::of("shop");
        assert_eq!((layout.shards(), layout.is_spread("orders")), (None, None));
        layout.note_shards(Shards::new(3).unwrap());
        layout.note_spread("orders", true);
        assert_eq!(layout.shards().map(Shards::count), Some(3));
        assert_eq!(layout.is_spread("orders"), Some(true));
        layout.forget();
        assert_eq!((layout.shards(), layout.is_spread("orders")), (None, None));
        assert_eq!(["", "default"].map(|name| Layout::of(name).shards()), [Some(Shards::ONE); 2]);
    }

    #[test]
    fn what_is_kept_of_topics_is_bounded() {
        let layout = Layout::of("shop");
        (0..=TOPICS_MAX).for_each(|n| layout.note_spread(&n.to_string(), false));
        assert_eq!(layout.spread().len(), 1);
    }
}
