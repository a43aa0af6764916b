//! Entries for a shard: a session that publishes to one topic with one subscription that nobody settles, so that every
//! block stays live.

use super::Cluster;
use bytes::Bytes;
use quorate_consensus::{Group, ProposeError};
use quorate_machine::block;
use quorate_machine::{
    Answer, Batch, Envelope, MessageOptions, Op, Origin, Publish, PublishRun, Reply, Start,
    SubscriptionConfig, TopicConfig, entry,
};
use quorate_types::{Filter, LogId, Millis, SessionId, Subject, SubscriptionName, TopicName};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

pub fn topic() -> TopicName {
    TopicName::parse("orders").unwrap()
}

fn subscription() -> SubscriptionName {
    SubscriptionName::parse("packer").unwrap()
}

fn batch(ops: Vec<Envelope>, block: Bytes) -> Batch {
    Batch { stamp: Millis::new(1_000), ops, block }
}

fn leader_op(op: Op) -> Envelope {
    Envelope { origin: Origin::Leader, op }
}

/// An entry that changes nothing but the machine's time.
pub fn tick() -> Bytes {
    entry::encode(&batch(vec![leader_op(Op::Tick)], Bytes::new()))
}

/// Hands an entry to `group` and waits for its replies.
pub async fn commit(group: &Group, bytes: Bytes, block: bool) -> Result<(LogId, Vec<Reply>), ProposeError> {
    let unknown = ProposeError::Unknown { group: group.id() };
    let proposal = group.propose(bytes, block).await?;
    tokio::time::timeout(PATIENCE, proposal.outcome).await.unwrap_or(Err(unknown))
}

/// A client's session with the shard.
pub struct Publisher {
    session: SessionId,
    sequence: u64,
}

impl Publisher {
    /// Opens the session, and makes the topic and the subscription.
    pub async fn open(cluster: &Cluster) -> Self {
        let open = leader_op(Op::OpenSession { timeout: Duration::from_secs(3_600) });
        let bytes = entry::encode(&batch(vec![open], Bytes::new()));
        let session = super::until("a session is open", || async {
            let group = cluster.group(cluster.leader().await);
            match commit(&group, bytes.clone(), false).await.ok()?.1.pop()? {
                Ok(Answer::SessionOpened { session }) => Some(session),
                other => panic!("{other:?}"),
            }
        })
        .await;
        let mut publisher = Self { session, sequence: 0 };
        publisher.ask(cluster, Op::CreateTopic { topic: topic(), config: TopicConfig::default() }).await;
        let config = SubscriptionConfig::default();
        publisher
            .ask(
                cluster,
                Op::CreateSubscription { subscription: subscription(), config, create_topic: false },
            )
            .await;
        let filter = Filter::parse("#").unwrap();
        publisher
            .ask(
                cluster,
                Op::Bind {
                    topic: topic(),
                    subscription: subscription(),
                    selectors: vec![filter.into()],
                    start: Start::Latest,
                    create_topic: false,
                },
            )
            .await;
        publisher
    }

    fn envelope(&mut self, op: Op) -> Envelope {
        self.sequence += 1;
        Envelope { origin: Origin::Session { session: self.session, sequence: self.sequence }, op }
    }

    async fn ask(&mut self, cluster: &Cluster, op: Op) {
        let bytes = entry::encode(&batch(vec![self.envelope(op)], Bytes::new()));
        let (_, reply) = retry(cluster, bytes, false).await;
        assert_eq!(reply, Ok(Answer::Done));
    }

    /// The entry of the next publish, of one message.
    pub fn next(&mut self, body: &[u8]) -> Bytes {
        let block = block::fragment(&[body]);
        let publish = Publish {
            topic: topic(),
            runs: vec![PublishRun {
                subject: Subject::parse("a.b").unwrap(),
                count: 1,
                options: MessageOptions::default(),
            }],
            fragment_bytes: u32::try_from(block.len()).unwrap(),
            message_bytes_max: u32::try_from(body.len()).unwrap(),
            create_topic: false,
            mandatory: false,
        };
        let envelope = self.envelope(Op::Publish(publish));
        entry::encode(&batch(vec![envelope], block))
    }

    /// Publishes one message under one sequence number until it is confirmed: its entry and offset.
    pub async fn publish(&mut self, cluster: &Cluster, body: &[u8]) -> (LogId, u64) {
        let bytes = self.next(body);
        let (_, reply) = retry(cluster, bytes, true).await;
        match reply {
            Ok(Answer::Published { first_offset, log_id, .. }) => (log_id, first_offset),
            other => panic!("{other:?}"),
        }
    }
}

/// Proposes to whoever leads until a reply comes.
async fn retry(cluster: &Cluster, bytes: Bytes, block: bool) -> (LogId, Reply) {
    super::until("the entry is committed", || async {
        let group = cluster.group(cluster.leader().await);
        let (id, mut replies) = commit(&group, bytes.clone(), block).await.ok()?;
        assert_eq!(replies.len(), 1);
        Some((id, replies.remove(0)))
    })
    .await
}

/// The only message of an entry, as a node would deliver it.
pub async fn body(group: &Group, index: u64) -> Option<Bytes> {
    let batch = group.entry(index).await.unwrap()?;
    let block = entry::block_of(&batch).expect("a block");
    Some(block::bodies(&block, 0, 0, 1).unwrap().remove(0))
}

/// Messages in the topic, as a replica knows it.
pub fn stored(group: &Group) -> u64 {
    group.read(|machine| machine.shard().and_then(|s| s.topic(&topic())).map_or(0, |view| view.next_offset))
}
