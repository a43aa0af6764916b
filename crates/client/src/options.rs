//! What may be chosen.

use crate::credentials::Credentials;
use crate::entropy::OsEntropy;
use quorate_types::{Entropy, Millis, NamespaceName};
use quorate_wire::{ChannelOptions, Connect, Scope, TcpNet, v1};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a [`crate::Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where all names are looked up. Default `default`.
    pub namespace: String,
    /// How long a call may take in all, over all its attempts. Default 15 s: longer than an election.
    pub call_timeout: Duration,
    /// How long one node may take to answer before the next one is asked. Default 5 s.
    pub attempt_timeout: Duration,
    /// How long a node that owes a publisher or consumer an answer, and says nothing, may take to say that it is there before
    /// it is taken for one that hangs, and left for the next. More than three round trips. Default 1 s.
    pub ping_timeout: Duration,
    /// How connections behave.
    pub channel: ChannelOptions,
    /// Makes connections. Default: TCP.
    pub connect: Arc<dyn Connect>,
    /// Says who the client is. Default: nobody in particular.
    pub credentials: Option<Credentials>,
    /// Spreads reconnects. Default: the operating system's randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            namespace: NamespaceName::DEFAULT.to_owned(),
            call_timeout: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(1),
            channel: ChannelOptions::client(),
            connect: Arc::new(TcpNet),
            credentials: None,
            entropy: Arc::new(OsEntropy),
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("namespace", &self.namespace)
            .field("call_timeout", &self.call_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("ping_timeout", &self.ping_timeout)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Where a new binding begins. Only the first binding of a topic to a subscription may begin in the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Latest,
    /// With everything that the topic keeps.
    Earliest,
    /// With this offset, or the first one kept after it.
    Offset(u64),
    /// With the first message kept that was stored at this time or later.
    Time(Millis),
}

impl Start {
    /// Where a binding of that topic is made that begins here.
    pub(crate) fn scope(self, topic: &str) -> Scope<'_> {
        match self {
            // Everything is everything on each shard; another offset is one shard's.
            Self::Offset(offset) if offset > 0 => Scope::Message(topic),
            _ => Scope::Topic(topic),
        }
    }

    pub(crate) fn message(self) -> Option<v1::Start> {
        let from = match self {
            Self::Latest => return None,
            Self::Earliest => v1::start::From::Offset(0),
            Self::Offset(offset) => v1::start::From::Offset(offset),
            Self::Time(time) => v1::start::From::TimeMs(time.get()),
        };
        Some(v1::Start { from: Some(from) })
    }
}

/// Where a subscription is moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeekTo {
    /// To the end: it begins with what is published from now on.
    #[default]
    Latest,
    /// To everything that its topics keep.
    Earliest,
    /// To this offset, or the first one kept after it. It must be bound to exactly one topic.
    Offset(u64),
    /// In each topic to the first message kept that was stored at this time or later.
    Time(Millis),
    /// To where it was when it got this mark.
    Mark(String),
}

impl SeekTo {
    pub(crate) fn message(self) -> Option<v1::seek_subscription_request::To> {
        use v1::seek_subscription_request::To;
        Some(match self {
            Self::Latest => return None,
            Self::Earliest => To::TimeMs(0),
            Self::Offset(offset) => To::Offset(offset),
            Self::Time(time) => To::TimeMs(time.get()),
            Self::Mark(name) => To::Mark(name),
        })
    }
}

/// How a [`crate::Publisher`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherOptions {
    /// Messages that may be unconfirmed; beyond them publishing waits. Default 4,096.
    pub window_messages: u32,
    /// Their bytes. Default 64 MiB.
    pub window_bytes: u32,
    /// How long a message may stay unconfirmed before its publisher is told so, within a tenth (but at most 500 ms)
    /// of it. Default 30 s.
    pub timeout: Duration,
    /// How long the cluster remembers this publisher while it says nothing: an outage of all connections that
    /// is longer leaves unconfirmed messages [`crate::PublishError::Unknown`]. Default 5 min.
    pub session_timeout: Duration,
    /// Begin with the node that leads the shard, if the client was given its address: one step less for every message.
    /// Default true; without it publishers spread over all nodes.
    pub prefer_leader: bool,
    /// Refuse messages (`UNROUTABLE`) that are for no subscription, instead of storing them for nobody: each message by itself,
    /// what is sent in one request of a batch together, and a commit as a whole. Default false.
    pub mandatory: bool,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            window_messages: 4_096,
            window_bytes: 64 << 20,
            timeout: Duration::from_secs(30),
            session_timeout: Duration::from_secs(300),
            prefer_leader: true,
            mandatory: false,
        }
    }
}

/// How a [`crate::Producer`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// Messages that may be unconfirmed, at most 10,000; beyond them publishing waits. Default 4,096.
    pub window_messages: u32,
    /// Their bytes. Default 64 MiB.
    pub window_bytes: u32,
    /// How long a message may stay unconfirmed before its publisher is told so. It is sent all the same, for its number
    /// is used: ask again under the number. Default 30 s.
    pub timeout: Duration,
    /// How long the cluster remembers the producer while it publishes nothing: 1 min to 365 days. Default 7 days.
    pub expiry: Duration,
    /// Begin with the node that leads the shard: see [`PublisherOptions::prefer_leader`]. Default true.
    pub prefer_leader: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        let PublisherOptions { window_messages, window_bytes, timeout, prefer_leader, .. } =
            PublisherOptions::default();
        let expiry = Duration::from_secs(7 * 24 * 3600);
        Self { window_messages, window_bytes, timeout, expiry, prefer_leader }
    }
}

/// How a [`crate::Consumer`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Messages that may be held unsettled: 1 to 10,000. Throughput is at most credit ÷ (time to process and settle one).
    /// Default 1,000.
    pub credit: u32,
    /// Who comes first: the higher. In a shared subscription messages go to the consumers of the highest priority that have
    /// credit; in a failover subscription the active one has the highest. Default 0.
    pub priority: i32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { credit: 1_000, priority: 0 }
    }
}
