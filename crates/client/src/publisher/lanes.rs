//! The ways of a publisher: one to each shard that it publishes on.

use super::lane::{Lane, Window};
use super::queue::Queue;
use crate::client::Client;
use crate::error::{CallError, PublishError};
use crate::options::PublisherOptions;
use quorate_types::{Shards, probe};
use quorate_wire::v1;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Each begins with the first message that goes there. They share a window.
#[derive(Debug)]
pub(super) struct Lanes {
    client: Client,
    options: PublisherOptions,
    window: Arc<Window>,
    /// Where there is one shard, or the client is for one.
    only: OnceLock<Lane>,
    several: Mutex<BTreeMap<u32, Lane>>,
    /// Whose turn it is of the shards, where any will do.
    turn: AtomicU32,
}

impl Lanes {
    pub(super) fn new(client: Client, options: PublisherOptions) -> Self {
        let window = Arc::new(Window::new(&options));
        let (only, several, turn) = (OnceLock::new(), Mutex::default(), AtomicU32::new(0));
        let this = Self { client, options, window, only, several, turn };
        this.alone();
        this
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// The only way, where it is known that there is one.
    fn alone(&self) -> Option<&Lane> {
        let is_alone = self.client.shard().is_some() || self.client.kept_shard_count() == Some(Shards::ONE);
        is_alone.then(|| self.only.get_or_init(|| self.spawn(self.client.clone())))
    }

    fn spawn(&self, client: Client) -> Lane {
        let queue = Queue::new(self.options.mandatory);
        Lane::spawn(client, self.options.clone(), Arc::clone(&self.window), queue, None)
    }

    /// The way to that shard; `None`: to the one whose turn it is.
    pub(super) async fn to(&self, shard: Option<u32>) -> Result<Lane, PublishError> {
        if let Some(only) = self.alone() {
            return Ok(only.clone());
        }
        let shards = self.client.kept_shards().await.map_err(unasked)?;
        if let Some(only) = self.alone() {
            return Ok(only.clone());
        }
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed) % shards.count();
        let shard = match shard {
            Some(shard) if !probe::planted("a key goes to the shard whose turn it is") => shard,
            _ => turn(),
        };
        let mut several = self.several.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = several.entry(shard).or_insert_with(|| self.spawn(self.client.on_shard(shard)));
        Ok(lane.clone())
    }

    /// Where a message belongs; `None`: anywhere.
    pub(super) async fn place(
        &self,
        topic: &str,
        message: &v1::Message,
    ) -> Result<Option<u32>, PublishError> {
        if self.alone().is_some() {
            return Ok(None);
        }
        let shard = self.client.shard_of_message(topic, &message.key, &message.message_id);
        shard.await.map_err(unasked)
    }
}

/// Where the message belongs could not be found out: it is not sent.
fn unasked(error: CallError) -> PublishError {
    match error {
        CallError::Refused(refusal) => PublishError::Refused(refusal),
        CallError::TimedOut { after, last, .. } => PublishError::NotSent { after, last: Some(last) },
    }
}
