//! What is published on one shard: a handle that fills batches, and the task that sends them.

use super::driver;
use super::queue::{Confirm, Queue, Waiter};
use crate::client::Client;
use crate::error::PublishError;
use crate::options::PublisherOptions;
use quorate_types::SessionId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Room for what is unconfirmed, which all shards of a publisher share: permits are given back when messages are answered.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) messages: Semaphore,
    pub(super) bytes: Semaphore,
    /// Everything that was published is answered.
    pub(super) idle: Notify,
    messages_max: u32,
    bytes_max: u32,
    timeout: Duration,
}

impl Window {
    pub(super) fn new(options: &PublisherOptions) -> Self {
        let (messages_max, bytes_max) = (options.window_messages.max(1), options.window_bytes.max(1));
        Self {
            messages: Semaphore::new(messages_max as usize),
            bytes: Semaphore::new(bytes_max as usize),
            idle: Notify::new(),
            messages_max,
            bytes_max,
            timeout: options.timeout,
        }
    }

    /// Messages that may be unconfirmed.
    pub(super) fn messages_max(&self) -> usize {
        self.messages_max as usize
    }

    /// What a message that is larger than the whole window takes of it: all.
    pub(super) fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    fn count(&self, messages: usize) -> u32 {
        u32::try_from(messages).unwrap_or(u32::MAX).min(self.messages_max)
    }

    /// Waits for room, but no longer than a message may stay unconfirmed: without a majority none becomes free.
    pub(super) async fn reserve(&self, messages: usize, bytes: usize) -> Result<(), PublishError> {
        let after = self.timeout;
        let room = tokio::time::timeout(after, self.room(messages, bytes)).await;
        room.unwrap_or(Err(PublishError::NotSent { after, last: None }))
    }

    async fn room(&self, messages: usize, bytes: usize) -> Result<(), PublishError> {
        let messages = self.messages.acquire_many(self.count(messages)).await;
        let messages = messages.map_err(|_| PublishError::Closed)?;
        let bytes = self.bytes.acquire_many(self.weight(bytes)).await;
        // Only now are both ours: before, a dropped future must give back what it had.
        bytes.map_err(|_| PublishError::Closed)?.forget();
        messages.forget();
        Ok(())
    }

    fn give_back(&self, messages: usize, bytes: usize) {
        self.messages.add_permits(self.count(messages) as usize);
        self.bytes.add_permits(self.weight(bytes) as usize);
        self.idle.notify_waiters();
    }

    /// Waits until everything that was published before is answered, one way or the other.
    pub(super) async fn flush(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Registered before the look at the window, so that no wake-up falls between.
            idle.as_mut().enable();
            if self.messages.is_closed() || self.messages.available_permits() >= self.messages_max() {
                return;
            }
            idle.await;
        }
    }
}

/// What the handles and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue, or it was closed.
    pub(super) filled: Notify,
    pub(super) window: Arc<Window>,
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to one shard. Cheap to clone; clones share one session and one order.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Lane {
    /// `producer`: the session of a producer, and the leader's address if it is known.
    pub(super) fn spawn(
        client: Client,
        options: PublisherOptions,
        window: Arc<Window>,
        queue: Queue,
        producer: Option<(SessionId, String)>,
    ) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::new(queue), filled: Notify::new(), window });
        tokio::spawn(driver::run(client, options, Arc::clone(&shared), producer));
        Self { handle: Arc::new(Handle { shared }) }
    }

    pub(super) fn window(&self) -> &Window {
        &self.handle.shared.window
    }

    /// Puts something in line for which room was reserved. `put` says whether the queue was empty; when it refuses, the room is
    /// given back.
    pub(super) fn put<T>(
        &self,
        (messages, bytes): (usize, usize),
        confirm: Confirm,
        put: impl FnOnce(&mut Queue, Waiter) -> Result<(bool, T), PublishError>,
    ) -> Result<T, PublishError> {
        let shared = &self.handle.shared;
        let waiter = Waiter {
            count: u32::try_from(messages).unwrap_or(u32::MAX),
            weight: shared.window.weight(bytes),
            deadline: Instant::now() + shared.window.timeout,
            confirm: Some(confirm),
        };
        // The lock ends before anybody is woken.
        let done = put(&mut shared.queue(), waiter);
        match done {
            Ok((first, value)) => {
                if first {
                    shared.filled.notify_one();
                }
                Ok(value)
            }
            Err(error) => {
                shared.window.give_back(messages, bytes);
                Err(error)
            }
        }
    }
}
