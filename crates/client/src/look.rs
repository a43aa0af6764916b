//! What is in a subscription, and where a message is.

use crate::client::Client;
use crate::error::CallError;
use crate::reader::{StoredMessage, client_of, stored};
use quorate_types::{Millis, NodeId};
use quorate_wire::v1;

/// What to look at in a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeekOptions {
    /// The position to begin at.
    pub position: u64,
    /// At most so many messages: 1 to 1,000; 0 means 100.
    pub limit: u32,
    /// Only messages in these states; empty: all.
    pub states: Vec<v1::PeekState>,
    /// Wait until the replica has everything that was confirmed before.
    pub linearizable: bool,
}

/// Unsettled messages, seen without leasing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekPage {
    /// In order of position.
    pub messages: Vec<Peeked>,
    /// Where to go on; `None`: there was nothing more.
    pub next_position: Option<u64>,
}

/// An unsettled message of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Its place in the subscription.
    pub position: u64,
    /// Its topic.
    pub topic: String,
    /// How often it was sent; of a leased message, this time too.
    pub attempts: u32,
    /// What it waits for.
    pub state: PeekedState,
    /// It.
    pub stored: StoredMessage,
}

/// What an unsettled message waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeekedState {
    /// For a consumer with credit.
    Ready,
    /// For a consumer to settle it.
    Leased {
        /// Who has it: its id in the cluster.
        consumer: String,
        /// The node where that is attached; `None` when it is not known.
        node: Option<NodeId>,
        /// When the lease ends by itself.
        until: Millis,
    },
    /// For its time.
    Delayed {
        /// When it is ready.
        until: Millis,
    },
    /// For something that a newer node knows.
    Unknown,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The message; `None`: it is not kept any more, every subscription that got it has settled it.
    pub message: Option<StoredMessage>,
    /// The replicated log, and the entry in it that holds the message; 0 when it is not kept.
    pub group: u64,
    /// As above.
    pub index: u64,
    /// Subscriptions that are bound to the topic, have the message unsettled, or had it, by name.
    pub routes: Vec<TraceRoute>,
    /// The node that answered remembers what was settled after this time: the log's.
    pub remembers_since: Millis,
}

/// What a subscription has to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRoute {
    /// Which one.
    pub subscription: String,
    /// Its filters that select the message, as they are bound now.
    pub filters: Vec<String>,
    /// What is known.
    pub outcome: v1::TraceOutcome,
    /// Position, attempts and state of each place where it is unsettled.
    pub places: Vec<(u64, u32, PeekedState)>,
    /// The subscription catches up with the topic and comes to the message later, perhaps once more.
    pub ahead: bool,
    /// How it ended there, as far as that is remembered, the oldest first.
    pub ended: Vec<v1::Ended>,
}

impl Client {
    /// What is unsettled in a subscription now. Changes nothing. In a namespace with several shards it is looked at on each by itself
    /// ([`Client::on_shard`]): positions are counted there.
    ///
    /// # Errors
    /// [`CallError`]: `SUBSCRIPTION_NOT_FOUND`, `INVALID_ARGUMENT`, or no answer.
    pub async fn peek(&self, subscription: &str, options: PeekOptions) -> Result<PeekPage, CallError> {
        let request = v1::PeekRequest {
            namespace: self.here(),
            subscription: subscription.to_owned(),
            position: options.position,
            limit: options.limit,
            states: options.states.iter().map(|state| (*state).into()).collect(),
            linearizable: options.linearizable,
            shard: self.shard,
        };
        let called =
            self.call(request, |channel, request| async move { client_of(channel).peek(request).await });
        let response = called.await.result?;
        let mut messages = Vec::new();
        for peeked in response.runs {
            let (place, run) = (peeked.place.unwrap_or_default(), peeked.run.unwrap_or_default());
            let (topic, state) = (run.topic.clone(), state_of(&place));
            for (position, stored) in (place.position..).zip(stored(self.shard, run)) {
                let stored = stored.map_err(CallError::Refused)?;
                let (topic, state) = (topic.clone(), state.clone());
                messages.push(Peeked { position, topic, attempts: place.attempts, state, stored });
            }
        }
        Ok(PeekPage { messages, next_position: response.next_position })
    }

    /// Where the message of a receipt is now, and how it ended where it is not any more, as far as a node remembers that. One of a
    /// topic that is spread over several shards is looked for on its own ([`Client::on_shard`]).
    ///
    /// # Errors
    /// [`CallError`]: `TOPIC_NOT_FOUND`, `OFFSET_OUT_OF_RANGE`, or no answer.
    pub async fn trace(&self, topic: &str, offset: u64, linearizable: bool) -> Result<Traced, CallError> {
        let request = v1::TraceRequest {
            namespace: self.here(),
            topic: topic.to_owned(),
            offset,
            linearizable,
            shard: self.shard,
        };
        let called =
            self.call(request, |channel, request| async move { client_of(channel).trace(request).await });
        let response = called.await.result?;
        let message = response.run.and_then(|run| stored(self.shard, run).next()).transpose();
        let route = |route: v1::TraceRoute| TraceRoute {
            outcome: route.outcome(),
            places: route.places.iter().map(|p| (p.position, p.attempts, state_of(p))).collect(),
            subscription: route.subscription,
            filters: route.filters,
            ahead: route.ahead,
            ended: route.ended,
        };
        Ok(Traced {
            message: message.map_err(CallError::Refused)?,
            group: response.group,
            index: response.index,
            remembers_since: Millis::new(response.remembers_since_ms),
            routes: response.routes.into_iter().map(route).collect(),
        })
    }
}

fn state_of(place: &v1::Place) -> PeekedState {
    let until = Millis::new(place.until_ms);
    match place.state() {
        v1::PeekState::Ready => PeekedState::Ready,
        v1::PeekState::Leased => {
            let node = Some(place.node).filter(|node| *node > 0).map(NodeId::new);
            PeekedState::Leased { consumer: place.consumer.clone(), node, until }
        }
        v1::PeekState::Delayed => PeekedState::Delayed { until },
        v1::PeekState::Unspecified => PeekedState::Unknown,
    }
}
