//! The client of the floor: frames out, counts back.

use crate::target::{Consumer, Delivered, Layout, Producer, Target};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// Three processes of the floor, known by the one that takes frames.
#[derive(Clone, Debug)]
pub struct Floor {
    address: String,
}

/// What the client of the floor may fail with.
#[derive(Debug, Error)]
pub enum FloorError {
    /// The connection failed.
    #[error("the connection to the floor failed: {0}")]
    Io(#[from] io::Error),
    /// It ended before everything was confirmed.
    #[error("the floor ended the connection")]
    Ended,
    /// It delivers nothing.
    #[error("the floor has no consumers")]
    NoConsumers,
}

impl Floor {
    /// `address`: of the first process.
    #[must_use]
    pub fn new(address: String) -> Self {
        Self { address }
    }
}

impl Target for Floor {
    type Error = FloorError;
    type Producer = FloorProducer;
    type Consumer = NoConsumer;

    async fn prepare(&self, layout: &Layout) -> Result<(), FloorError> {
        if layout.subscriptions > 0 { Err(FloorError::NoConsumers) } else { Ok(()) }
    }

    async fn producer(&self, _index: u32, window: u32) -> Result<FloorProducer, FloorError> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (input, output) = stream.into_split();
        let shared = Arc::new(Shared::default());
        tokio::spawn(write(output, Arc::clone(&shared)));
        tokio::spawn(read(input, Arc::clone(&shared)));
        Ok(FloorProducer { shared, window: Arc::new(Semaphore::new(window as usize)) })
    }

    async fn consumer(
        &self,
        _subscription: &str,
        _index: u32,
        _credit: u32,
    ) -> Result<NoConsumer, FloorError> {
        Err(FloorError::NoConsumers)
    }

    async fn remove(&self, _layout: &Layout) -> Result<(), FloorError> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    unconfirmed: VecDeque<(oneshot::Sender<()>, OwnedSemaphorePermit)>,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is confirmed any more.
    fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.unconfirmed.clear();
    }
}

/// A connection to the floor.
#[derive(Debug)]
pub struct FloorProducer {
    shared: Arc<Shared>,
    window: Arc<Semaphore>,
}

impl Drop for FloorProducer {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Producer for FloorProducer {
    type Error = FloorError;
    type Confirm = Confirm;

    async fn send(&mut self, _topic: &str, _subject: &str, payload: Bytes) -> Result<Confirm, FloorError> {
        let room = Arc::clone(&self.window).acquire_owned().await.map_err(|_| FloorError::Ended)?;
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(FloorError::Ended);
        }
        queue.bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        queue.bytes.extend_from_slice(&payload);
        queue.unconfirmed.push_back((sender, room));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(Confirm(receiver))
    }
}

/// Resolves when two of the three have the message on disk.
#[derive(Debug)]
pub struct Confirm(oneshot::Receiver<()>);

impl Future for Confirm {
    type Output = Result<(), FloorError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map_err(|_| FloorError::Ended)
    }
}

async fn write(mut output: OwnedWriteHalf, shared: Arc<Shared>) {
    loop {
        let filled = shared.filled.notified();
        let (bytes, closed) = {
            let mut queue = shared.queue();
            (queue.bytes.split(), queue.closed && queue.unconfirmed.is_empty())
        };
        if bytes.is_empty() {
            if closed {
                return;
            }
            filled.await;
        } else if output.write_all(&bytes).await.is_err() {
            return shared.close();
        }
    }
}

async fn read(mut input: OwnedReadHalf, shared: Arc<Shared>) {
    let mut known = 0;
    while let Ok(count) = input.read_u64_le().await {
        let newly = usize::try_from(count.saturating_sub(known)).unwrap_or(usize::MAX);
        known = count;
        let confirmed: Vec<_> = {
            let mut queue = shared.queue();
            let newly = newly.min(queue.unconfirmed.len());
            queue.unconfirmed.drain(..newly).collect()
        };
        for (confirmed, room) in confirmed {
            // A caller that does not wait need not hear of it.
            let _ = confirmed.send(());
            drop(room);
        }
        shared.filled.notify_one();
    }
    shared.close();
    shared.filled.notify_one();
}

/// There are none.
#[derive(Debug)]
pub enum NoConsumer {}

impl Consumer for NoConsumer {
    type Error = FloorError;

    async fn next(&mut self) -> Option<Result<Delivered, FloorError>> {
        match *self {}
    }

    async fn close(self) {
        match self {}
    }
}
