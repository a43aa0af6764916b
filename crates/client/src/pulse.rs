//! Notices a node that hangs.
//!
//! A process that is stopped keeps its connections: they look idle until HTTP/2's keep-alive gives them up, which takes ten
//! seconds. A node that owes an answer and is silent is therefore asked whether it is there, over a connection of its own, so
//! that the question waits behind nothing. A node that is only slow, or has no leader to ask, says yes.

use crate::nodes::Nodes;
use futures::future::BoxFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// How long a node that owes an answer may be silent before it is asked.
const SILENCE: Duration = Duration::from_millis(300);

/// Watches one connection's node.
pub(crate) struct Pulse {
    nodes: Arc<Nodes>,
    address: String,
    /// How long it may take to say that it is there.
    patience: Duration,
    /// When it is asked next.
    next: Instant,
    timer: Pin<Box<Sleep>>,
    asked: Option<BoxFuture<'static, bool>>,
}

impl Pulse {
    pub(crate) fn new(nodes: Arc<Nodes>, address: String, patience: Duration) -> Self {
        let next = Instant::now() + SILENCE;
        Self { nodes, address, patience, next, timer: Box::pin(sleep_until(next)), asked: None }
    }

    /// The node has said something at `now`, or owes nothing since then.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.next = now + SILENCE;
        self.asked = None;
    }

    /// Resolves when the node neither said anything nor answers a question. May be dropped and begun again.
    pub(crate) async fn stopped(&mut self) {
        loop {
            if let Some(asked) = &mut self.asked {
                if !asked.await {
                    return;
                }
                self.asked = None;
                self.next = Instant::now() + self.patience;
            }
            if self.timer.deadline() < self.next {
                self.timer.as_mut().reset(self.next);
            }
            self.timer.as_mut().await;
            if self.timer.deadline() >= self.next {
                let (ping, patience) = (self.nodes.ping(&self.address), self.patience);
                self.asked = Some(Box::pin(async move { matches!(timeout(patience, ping).await, Ok(true)) }));
            }
        }
    }
}
