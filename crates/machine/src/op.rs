//! The operations of the machine, one variant per command file under `commands/`.

mod blocks;
mod identity;
mod node_record;
mod publish;
mod start;

pub use blocks::{CompactedBlock, GatheredBlock, GatheredPart, KeptRun, Match};
pub use identity::{ConsumerIdentity, ConsumerToken, ProducerInstance};
pub use node_record::NodeRecord;
pub use publish::{Commit, CommitSettle, Publish, PublishRun};
pub use start::{SeekTo, Start};

use crate::access::AccessChange;
use crate::backup::{NamespaceRestore, Restore};
use crate::config::{SubscriptionConfig, TopicConfig};
use crate::machine::Machine;
use crate::publishes::{PublishView, Publishes};
use crate::quota::{Quota, QuotaOf};
use crate::settlement::Settlement;
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, MarkName, NamespaceId, NamespaceName, NodeId, ProducerName,
    Selector, SessionId, ShardPlace, SubscriptionId, SubscriptionName, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One operation. Shard groups and the system group refuse each other's operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    // Conversations (every group).
    /// A node's conversation for one of its starts. Ends all earlier ones of that node: their consumers are
    /// detached. Answer: [`crate::Answer::SessionOpened`].
    Hello {
        /// The node.
        node: NodeId,
        /// Which start; must be newer than any known one of the node, else `STALE_BOOT`.
        boot: BootId,
    },
    /// A client's conversation. Answer: [`crate::Answer::SessionOpened`].
    OpenSession {
        /// It ends by itself when nothing came for so long (log time). At least 1 s, at most 7 days: what is
        /// outside becomes the nearest of the two.
        timeout: Duration,
    },
    /// A named conversation of a shard, for a client that goes on with it after a restart. Opened again, it goes on in a new
    /// session, which takes over the number of its newest operation and the answers that are kept; the former session is fenced
    /// (`PRODUCER_FENCED`). Answer: [`crate::Answer::ProducerOpened`].
    OpenProducer {
        /// Its name.
        producer: ProducerName,
        /// Who opens it: drawn at random once, and the same with each attempt, so that an attempt that comes late or twice
        /// fences nobody. `None`: each attempt is another one.
        instance: Option<ProducerInstance>,
        /// Its record is gone when nothing came for so long (log time). At least 1 min, at most 365 days: what is outside
        /// becomes the nearest of the two.
        timeout: Duration,
    },
    /// Deletes a producer's record; its session is over (`PRODUCER_EXPIRED`).
    DeleteProducer {
        /// Which one.
        producer: ProducerName,
    },
    /// Ends a client's conversation, that of a producer excepted.
    CloseSession {
        /// Which one.
        session: SessionId,
    },
    /// Ends a node's conversation: the leader has not heard from it for the session timeout. Its consumers
    /// are detached, their leases return to the queue.
    ExpireNode {
        /// The node's session.
        session: SessionId,
    },
    /// Acts on what is due at the batch's stamp.
    Tick,

    // Metadata of a shard.
    /// Creates a topic. The same topic with the same settings: answered as done. Its alternate topic must be there.
    CreateTopic {
        /// Its name.
        topic: TopicName,
        /// Its settings.
        config: TopicConfig,
    },
    /// Replaces a topic's settings.
    ConfigureTopic {
        /// Which one.
        topic: TopicName,
        /// The new settings.
        config: TopicConfig,
    },
    /// Deletes a topic with its bindings; what is unsettled of it is counted as purged. Refused (`TOPIC_IN_USE`) while it is
    /// the dead-letter topic of a subscription, or the alternate topic of another.
    DeleteTopic {
        /// Which one.
        topic: TopicName,
    },
    /// Creates a subscription, without bindings. Its dead-letter topic must be there.
    CreateSubscription {
        /// Its name.
        subscription: SubscriptionName,
        /// Its settings.
        config: SubscriptionConfig,
        /// Create its dead-letter topic when there is none: the gateway's `auto_create_topics`.
        create_topic: bool,
    },
    /// Deletes a subscription; its consumers are closed.
    DeleteSubscription {
        /// Which one.
        subscription: SubscriptionName,
    },
    /// Routes messages that one of the selectors selects: what is published from now on, and before that what the topic keeps
    /// from the start on. A selector that is bound already changes nothing, whatever its start was.
    ///
    /// Only the first selectors that bind a topic to a subscription may have a start in the past (`BINDING_EXISTS`): what was
    /// routed by one of them must not be routed again.
    Bind {
        /// From this topic
        topic: TopicName,
        /// to this subscription
        subscription: SubscriptionName,
        /// what one of these selects
        selectors: Vec<Selector>,
        /// from here on.
        start: Start,
        /// Create the topic, with default settings, when there is none: the gateway's `auto_create_topics`.
        create_topic: bool,
    },
    /// Takes a binding back. What was routed stays.
    Unbind {
        /// From this topic
        topic: TopicName,
        /// to this subscription
        subscription: SubscriptionName,
        /// with this selector.
        selector: Selector,
    },
    /// Passes messages on to another topic where the subject matches one of the filters, from now on: they are appended
    /// there in the entry in which they are stored, by reference, once for each publish whatever ways lead there, and
    /// routed there by their subject. Refused (`BINDING_LOOP`) where they would come back.
    BindTopic {
        /// From this topic
        from: TopicName,
        /// to this one
        to: TopicName,
        /// where the subject matches one of these. One that is bound already changes nothing.
        filters: Vec<Filter>,
    },
    /// Takes a binding between topics back. What was passed on stays.
    UnbindTopic {
        /// From this topic
        from: TopicName,
        /// to this one
        to: TopicName,
        /// with this filter.
        filter: Filter,
    },
    /// A step of a subscription that catches up with a topic, where subjects or headers decide: apply reads no blocks, so the
    /// leader has looked into them ([`crate::Scan`]). Changes nothing if the subscription is not where it was when it looked.
    Route {
        /// The topic.
        topic: TopicId,
        /// The subscription that catches up with it.
        subscription: SubscriptionId,
        /// Which selectors were looked for.
        version: u64,
        /// What was looked through: from this offset
        from: u64,
        /// up to this one, not included.
        to: u64,
        /// What the selectors select of it, in order.
        matches: Vec<Match>,
    },
    /// Writes what is needed of blocks of compacted topics anew, as the leader has read it ([`crate::LooseBlock`]): apply reads no
    /// blocks. A block that is not what it was when it was read stays as it is.
    Compact {
        /// Which blocks; the entry's block has the parts of each, as fragments, in order.
        blocks: Vec<CompactedBlock>,
    },
    /// Drops what is ready in a subscription, or waits for its time. Leased messages are left to their consumers; until the
    /// purge is done (by ticks, when it is large) nothing is granted, and what comes back goes with it.
    Purge {
        /// Which one.
        subscription: SubscriptionName,
    },

    /// Takes a scheduled message back: out of every subscription where it waits for the time at which it is to be delivered
    /// first. Refused (`NOT_SCHEDULED`) when there is none. Answer: [`crate::Answer::Cancelled`].
    Cancel {
        /// Where it was published.
        topic: TopicName,
        /// Its offset there.
        offset: u64,
    },
    /// Moves a subscription: what is unsettled in it is taken out and counted as purged, leases too, and each topic
    /// that is bound to it is routed from its new start on, whatever was settled of it. Nothing is granted until the
    /// first is done; what consumers settle afterwards of what they held is stale. Answer: [`crate::Answer::Purged`].
    Seek {
        /// Which one.
        subscription: SubscriptionName,
        /// Where to.
        to: SeekTo,
    },
    /// Remembers for each topic that is bound to a subscription where its oldest unsettled message is. It keeps no messages.
    Mark {
        /// Which one.
        subscription: SubscriptionName,
        /// Under this name; a mark that has it is replaced.
        mark: MarkName,
    },
    /// Forgets a mark.
    DeleteMark {
        /// Of which subscription.
        subscription: SubscriptionName,
        /// Which one.
        mark: MarkName,
    },

    /// The shard's namespace is about to be deleted: an empty shard takes no topics and subscriptions any more. One
    /// that is not empty stays open (`NAMESPACE_NOT_EMPTY`), and so does one that was opened at a later revision
    /// (`NAMESPACE_CHANGED`).
    CloseShard {
        /// The revision of the namespace that is to be deleted.
        revision: u64,
    },
    /// Somebody wants the shard's namespace: it takes topics and subscriptions, and no [`Op::CloseShard`] of an earlier
    /// revision. Refused (`NAMESPACE_CHANGED`) when it was closed at this revision or a later one.
    OpenShard {
        /// The revision to which the namespace was raised.
        revision: u64,
        /// Which one of the namespace's shards this is: from its first opening on it refuses what does not belong here.
        place: ShardPlace,
    },

    // The way of a message.
    /// Appends messages to a topic and routes them. Answer: [`crate::Answer::Published`].
    Publish(Publish),
    /// Appends messages to several topics, one publish after the other, as one operation of its session. Each is stored
    /// wholly or refused on its own. Answer: [`crate::Answer::PublishedEach`].
    PublishEach(Publishes),
    /// Ends leases and appends messages, all of it or nothing: one lease that is stale or one topic that is not there refuses
    /// the whole. Of any session: who commits a lease names the identity of the consumer that holds it. Answer:
    /// [`crate::Answer::Committed`].
    Commit(Box<Commit>),
    /// Attaches a consumer to a subscription. Its origin must be the node session in `consumer`. A consumer of the
    /// subscription that has the same identity is taken over: it is detached first, and what it holds returns to the
    /// queue, as when its node had died.
    Attach {
        /// The new consumer.
        consumer: ConsumerId,
        /// Where.
        subscription: SubscriptionName,
        /// How many messages it may hold unsettled.
        credit: u32,
        /// Who is served first: the higher.
        priority: i32,
        /// Who it is, for one that attaches again when it has lost its connection.
        identity: Option<ConsumerIdentity>,
    },
    /// Detaches a consumer; its leases return to the queue at their old positions.
    Detach {
        /// Which one.
        consumer: ConsumerId,
        /// How many of its leased messages, in order of their lease, were written to its connection: only those count as
        /// an attempt (DESIGN §6.6). Counted over the whole life of the consumer.
        written: u64,
    },
    /// Replaces a consumer's credit.
    SetCredit {
        /// Which one.
        consumer: ConsumerId,
        /// How many messages it may hold unsettled.
        credit: u32,
    },
    /// Ends leases. Answer: [`crate::Answer::Settled`].
    Settle {
        /// Who holds them.
        consumer: ConsumerId,
        /// What to end, and how.
        settlements: Vec<Settlement>,
    },

    // The system group.
    /// First entry of a new cluster: its nodes and the `default` namespace with its shard.
    FormCluster {
        /// The first nodes, by id.
        nodes: Vec<NodeRecord>,
    },
    /// A node came (back), possibly under a new incarnation or address.
    RegisterNode {
        /// What it says of itself.
        node: NodeRecord,
    },
    /// Creates a namespace and places its shards on nodes. There already with as many shards: somebody wants it, its
    /// revision is raised. Answer: [`crate::Answer::NamespaceCreated`].
    CreateNamespace {
        /// Its name.
        namespace: NamespaceName,
        /// How many groups; fixed for its life.
        shards: u32,
    },
    /// A delete of this namespace was refused: its revision is raised, so that shards which that closed can be opened. Answer:
    /// [`crate::Answer::NamespaceCreated`].
    KeepNamespace {
        /// Its name
        namespace: NamespaceName,
        /// and its id: one that is gone is not created anew.
        id: NamespaceId,
    },
    /// Deletes a namespace whose shards are all closed at this revision: the proposer has seen to that.
    DeleteNamespace {
        /// Its name
        namespace: NamespaceName,
        /// and its id: a namespace created anew under the name is another one.
        id: NamespaceId,
        /// Its revision when the proposer began: raised since then, somebody wants it.
        revision: u64,
    },

    // Every group, since the first version; what comes later is added below.
    /// From now on the group decides by this version of the machine. Only its leader proposes it, and only when every node that
    /// has a replica knows the version: one that does not must stop here.
    RaiseVersion {
        /// Newer than the group's.
        to: u32,
    },

    // Since version 2.
    /// Puts small blocks of a topic, one behind the other, together into one, as the leader has read them
    /// ([`crate::ScatteredBlocks`]). What is not as it was when it was read stays as it is.
    Gather {
        /// Which blocks; the entry's block has the messages of each, as one fragment, in order.
        blocks: Vec<GatheredBlock>,
    },
    /// A step by which a shard is made of a copy. Answer: [`crate::Answer::Restored`].
    Restore(Box<Restore>),

    // The system group, since version 2.
    /// What it does for a restore.
    RestoreNamespace(Box<NamespaceRestore>),
    /// Changes users and roles.
    Access(AccessChange),
    /// Sets a quota, or replaces it.
    PutQuota {
        /// Whose.
        of: QuotaOf,
        /// What may be done.
        quota: Quota,
    },
    /// Takes a quota away, if there is one.
    DeleteQuota {
        /// Whose.
        of: QuotaOf,
    },
    /// A node says where it is; one that is not known comes in, if that is wanted. Refused (`NODE_REMOVED`) for the life of a disk
    /// that was removed.
    JoinNode {
        /// What it says of itself.
        node: NodeRecord,
        /// The zone that it is in; empty: none.
        zone: String,
        /// It may be one that the cluster does not know.
        new: bool,
    },
    /// All that a node has is to go to others, and the node then. Refused (`QUORUM_AT_RISK`) where too few would be left.
    RemoveNode {
        /// Which one.
        node: NodeId,
    },
    /// Forgets a node that is to go and has nothing any more. Only the leader of group 0 proposes it: it knows the voters.
    ForgetNode {
        /// Which one.
        node: NodeId,
    },
    /// A group is to have its replicas on these nodes. Changes nothing if it is not where the leader of group 0 saw it.
    MoveGroup {
        /// Which group.
        group: GroupId,
        /// Where it is.
        from: Vec<NodeId>,
        /// Where it shall be.
        to: Vec<NodeId>,
    },
    /// The voters of a group that moved are where they shall be: its former nodes let go of it.
    GroupMoved {
        /// Which group.
        group: GroupId,
        /// Where its voters are now.
        to: Vec<NodeId>,
    },
    /// A node is about to stop: it gets the one slot for that, or keeps it for longer. Refused (`DRAIN_BUSY`) while another has it.
    BeginDrain {
        /// Which node.
        node: NodeId,
        /// For how long (log time). At least 1 s, at most 1 day: what is outside becomes the nearest of the two.
        lasts: Duration,
    },
    /// The node serves again, or is gone: the slot is free.
    EndDrain {
        /// Which node.
        node: NodeId,
    },
}

impl Op {
    /// The first version of the machine that knows it: before the group decides by that version it is not proposed, because
    /// nodes with an older program could not even read it.
    #[must_use]
    pub fn since(&self) -> u32 {
        match self {
            Self::Gather { .. }
            | Self::Restore(_)
            | Self::RestoreNamespace(_)
            | Self::Access(_)
            | Self::PutQuota { .. }
            | Self::DeleteQuota { .. }
            | Self::JoinNode { .. }
            | Self::RemoveNode { .. }
            | Self::ForgetNode { .. }
            | Self::MoveGroup { .. }
            | Self::GroupMoved { .. }
            | Self::BeginDrain { .. }
            | Self::EndDrain { .. } => 2,
            _ => Machine::VERSION_FIRST,
        }
    }

    /// Whether it opens or closes a session, of a node or a client, and so has no number in one.
    #[must_use]
    pub fn opens_or_closes_session(&self) -> bool {
        matches!(
            self,
            Self::Hello { .. }
                | Self::OpenSession { .. }
                | Self::OpenProducer { .. }
                | Self::CloseSession { .. }
        )
    }

    /// What it publishes, in order: the block has a fragment for each.
    pub fn publishes(&self) -> impl Iterator<Item = PublishView<'_>> {
        let (one, each) = match self {
            Self::Publish(publish) => (Some(publish.view()), None),
            Self::PublishEach(publishes) => (None, Some(publishes.iter())),
            Self::Commit(commit) => (None, Some(commit.publishes.iter())),
            _ => (None, None),
        };
        one.into_iter().chain(each.into_iter().flatten())
    }

    /// Length of its part of the block.
    #[must_use]
    pub fn fragment_bytes(&self) -> u64 {
        match self {
            Self::Publish(publish) => u64::from(publish.fragment_bytes),
            Self::PublishEach(publishes) => publishes.fragment_bytes(),
            Self::Commit(commit) => commit.publishes.fragment_bytes(),
            Self::Restore(restore) => restore.fragment_bytes(),
            Self::Compact { blocks } => {
                blocks.iter().flat_map(|block| &block.runs).map(|run| u64::from(run.fragment_bytes)).sum()
            }
            Self::Gather { blocks } => blocks.iter().map(|block| u64::from(block.fragment_bytes)).sum(),
            _ => 0,
        }
    }

    /// Bytes that it has in memory beside itself, about: what a queue of operations holds, for its bound.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Settle { settlements, .. } => settlements.len() * size_of::<Settlement>(),
            Self::Publish(publish) => {
                let run = |run: &PublishRun| size_of::<PublishRun>() + run.subject.as_str().len();
                publish.runs.iter().map(run).sum()
            }
            Self::PublishEach(publishes) => publishes.bytes(),
            Self::Commit(commit) => {
                let settle = |settle: &CommitSettle| {
                    size_of::<CommitSettle>()
                        + settle.subscription.as_str().len()
                        + settle.settlements.len() * size_of::<Settlement>()
                };
                size_of::<Commit>()
                    + commit.settles.iter().map(settle).sum::<usize>()
                    + commit.publishes.bytes()
            }
            Self::Restore(restore) => restore.heap_bytes(),
            Self::Route { matches, .. } => matches.len() * size_of::<Match>(),
            Self::Compact { blocks } => {
                let block =
                    |b: &CompactedBlock| size_of::<CompactedBlock>() + b.runs.len() * size_of::<KeptRun>();
                blocks.iter().map(block).sum()
            }
            Self::Gather { blocks } => {
                let block = |b: &GatheredBlock| {
                    size_of::<GatheredBlock>() + b.parts.len() * size_of::<GatheredPart>()
                };
                blocks.iter().map(block).sum()
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::Verdict;

    #[test]
    fn a_commit_counts_for_no_less_than_it_takes_in_the_log() {
        let settlement = Settlement { first: u64::MAX, last: u64::MAX, attempt: 1, verdict: Verdict::Ack };
        let settle = CommitSettle {
            subscription: SubscriptionName::parse(&"s".repeat(200)).unwrap(),
            token: [255; ConsumerIdentity::TOKEN_BYTES],
            settlements: vec![settlement],
        };
        let commit = Commit { settles: vec![settle; 100], publishes: Publishes::new(&[]) };
        let op = Op::Commit(Box::new(commit));
        let mut encoded = Vec::new();
        crate::codec::append(&mut encoded, &op);
        assert!(op.heap_bytes() >= encoded.len(), "{} < {}", op.heap_bytes(), encoded.len());
    }
}
