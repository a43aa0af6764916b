//! A steady load that goes on whatever happens: what is not confirmed is sent again.

use super::PATIENCE;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use quorate_bench::{Producer, Target, ticks};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// A peer that does not confirm for so long is left for the next node, and asked again there. Their clients leave that to
/// the application; shorter than any of their elections, so that the application is not what is measured.
pub(super) const PEER_PATIENCE: Duration = Duration::from_secs(1);

/// What is refused is sent again after that.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Between two nodes that are tried.
const NEXT_AFTER: Duration = Duration::from_millis(20);

/// How long a connection that works is kept after the last message was sent over it.
const LINGER: Duration = Duration::from_secs(1);

/// More than comes while nobody confirms.
const WINDOW: u32 = 65_536;

const NODES: usize = 3;

/// When the newest confirmed message was due, and when it was confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) due: Instant,
    pub(super) confirmed: Instant,
}

/// The publisher of numbered messages.
pub(super) struct Publishing<T: Target> {
    pub(super) target: Arc<T>,
    pub(super) per_second: u32,
    /// How long a confirm may stay away.
    pub(super) patience: Duration,
    pub(super) told: watch::Sender<Newest>,
    pub(super) stopped: watch::Receiver<bool>,
    /// The node to publish at.
    pub(super) at: watch::Receiver<usize>,
}

/// One message on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    due: Instant,
    /// The connection that it took.
    connection: u64,
}

/// What came of it.
enum Ended {
    Confirmed(Instant),
    /// Refused, or nothing came.
    Failed,
}

struct Connection<T: Target> {
    producer: T::Producer,
    node: usize,
    number: u64,
}

impl<T: Target + 'static> Publishing<T> {
    /// Publishes until told to stop; returns how many, all of them confirmed.
    pub(super) async fn run(mut self) -> Result<u64> {
        let stopped = self.stopped.clone();
        let period = Duration::from_secs(1) / self.per_second.max(1);
        let mut connection = self.connect(0, 0).await?;
        let mut due = ticks(period, Duration::ZERO, Instant::now(), move |_, _| !*stopped.borrow());
        let mut flying = JoinSet::new();
        let (mut number, mut open) = (0_u64, true);
        while open || !flying.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = flying.join_next() => match ended? {
                    (sent, Ended::Confirmed(at)) => self.tell(sent, at),
                    (sent, Ended::Failed) => {
                        // The first that fails on a connection speaks for all.
                        if sent.connection == connection.number {
                            let next = connection.node + 1;
                            self.reconnect(&mut connection, next).await?;
                        }
                        self.send(&mut connection, &mut flying, sent).await?;
                    }
                },
                Ok(()) = self.at.changed() => {
                    let node = *self.at.borrow_and_update();
                    if node != connection.node {
                        self.reconnect(&mut connection, node).await?;
                    }
                }
                at = due.recv(), if open => match at {
                    Some(due) => {
                        let sent = Sent { number, due, connection: connection.number };
                        self.send(&mut connection, &mut flying, sent).await?;
                        number += 1;
                    }
                    None => open = false,
                },
            }
        }
        Ok(number)
    }

    /// To this node or the next that answers.
    async fn connect(&self, node: usize, number: u64) -> Result<Connection<T>> {
        let begun = Instant::now();
        for node in (0..NODES).cycle().skip(node % NODES) {
            let index = u32::try_from(node)?;
            if let Ok(Ok(producer)) = timeout(self.patience, self.target.producer(index, WINDOW)).await {
                return Ok(Connection { producer, node, number });
            }
            if begun.elapsed() > PATIENCE {
                break;
            }
            sleep(NEXT_AFTER).await;
        }
        bail!("no node takes a publisher")
    }

    /// Goes to another node.
    async fn reconnect(&self, connection: &mut Connection<T>, node: usize) -> Result<()> {
        let new = self.connect(node, connection.number + 1).await?;
        let old = std::mem::replace(connection, new);
        // What is on its way there may still be confirmed there.
        tokio::spawn(async move {
            sleep(LINGER).await;
            drop(old);
        });
        Ok(())
    }

    /// Sends a message, over another connection if this one fails.
    async fn send(
        &self,
        connection: &mut Connection<T>,
        flying: &mut JoinSet<(Sent, Ended)>,
        sent: Sent,
    ) -> Result<()> {
        let payload = Bytes::copy_from_slice(&sent.number.to_le_bytes());
        let patience = self.patience;
        let begun = Instant::now();
        loop {
            let sending = connection.producer.send(super::TOPIC, super::TOPIC, payload.clone());
            if let Ok(Ok(confirm)) = timeout(patience, sending).await {
                let sent = Sent { connection: connection.number, ..sent };
                flying.spawn(async move {
                    let ended = match timeout(patience, confirm).await {
                        Ok(Ok(())) => Ended::Confirmed(Instant::now()),
                        Ok(Err(_)) => {
                            sleep(AGAIN_AFTER).await;
                            Ended::Failed
                        }
                        Err(_) => Ended::Failed,
                    };
                    (sent, ended)
                });
                return Ok(());
            }
            (begun.elapsed() < PATIENCE).then_some(()).context("no node takes a message")?;
            self.reconnect(connection, connection.node + 1).await?;
        }
    }

    fn tell(&self, sent: Sent, confirmed: Instant) {
        self.told.send_if_modified(|newest| {
            let newer = sent.due > newest.due;
            if newer {
                *newest = Newest { due: sent.due, confirmed };
            }
            newer
        });
    }
}
