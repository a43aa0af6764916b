//! The rows of a copy, made of a shard that was frozen.

use super::entry::placed;
use super::{ContentHash, CopiedRow, CopyHead, SourceEntry};
use crate::machine::Machine;
use crate::rows::{self, RowKey};
use crate::sessions::{Party, Session};
use crate::shard::{Block, Context};
use quorate_types::{LogId, Millis, SessionId, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// What a shard holds, save the payloads of its messages. It is restored in the order of these fields.
#[derive(Clone, Debug)]
pub struct ShardCopy {
    /// The entry after which it was so.
    pub at: LogId,
    /// What comes first.
    pub head: CopyHead,
    /// Topics, subscriptions, producers and what belongs to them, in the order of their keys.
    pub rows: Vec<CopiedRow>,
    /// The entries whose payloads are needed, in their order.
    pub entries: Vec<SourceEntry>,
    /// What is said of messages in their blocks: which are the newest of their key, and when they were stored where blocks were
    /// gathered.
    pub last: Vec<CopiedRow>,
    /// Of all of it.
    pub hash: ContentHash,
}

impl Machine {
    /// The copy of this shard; `None` for group 0, while something is restored here, and before the first entry.
    ///
    /// What consumers hold is ready again, with the attempts that it has had. Takes time and memory with the number of rows: it
    /// is for a machine that was loaded from a frozen image, not for a replica's own.
    #[must_use]
    pub fn into_copy(mut self) -> Option<ShardCopy> {
        let at = self.applied()?;
        let now = self.now();
        let producers = self.numbered_producers();
        let (limits, mut dirty) = (self.limits().clone(), BTreeSet::new());
        let shard = self.shard_mut().filter(|shard| !shard.is_filling())?;
        shard.let_go(&mut Context::new(at, now, &limits, &mut dirty));
        let head = CopyHead {
            place: shard.place,
            now,
            last_topic: shard.last_topic,
            last_subscription: shard.last_subscription,
            last_binding: shard.last_binding,
            producers: producers.len() as u64,
        };
        let mut copy =
            ShardCopy { at, head, rows: vec![], entries: vec![], last: vec![], hash: ContentHash::default() };
        for (number, session) in producers {
            copy.add_producer(number, &session);
        }
        let shard = self.shard()?;
        let mut entries: BTreeMap<u64, Vec<(TopicId, u64, Block)>> = BTreeMap::new();
        for key in shard.keys() {
            match key {
                RowKey::Consumer(_) | RowKey::Closing | RowKey::Restore => {}
                RowKey::Block(topic, first) => {
                    let Some(block) = shard.topics.get(&topic).and_then(|t| t.blocks.get(&first)) else {
                        continue;
                    };
                    copy.hash.add(&key.encode(), &hashed(block));
                    entries.entry(block.index).or_default().push((topic, first, block.clone()));
                }
                RowKey::Newest(..) | RowKey::Times(..) => {
                    copy.last.extend(copied(&mut copy.hash, key, shard.row(key)));
                }
                _ => copy.rows.extend(copied(&mut copy.hash, key, shard.row(key))),
            }
        }
        copy.entries = entries.into_iter().map(|(index, blocks)| SourceEntry { index, blocks }).collect();
        Some(copy)
    }

    /// The producers by name, numbered from 1.
    fn numbered_producers(&self) -> Vec<(SessionId, Session)> {
        let sessions = self.sessions.producers.sessions().filter_map(|id| self.sessions.get(id));
        (1..).map(SessionId::new).zip(sessions.cloned()).collect()
    }
}

impl ShardCopy {
    /// Its session is said by its number; that of the shard where it is restored is another one.
    fn add_producer(&mut self, number: SessionId, session: &Session) {
        let Some(producer) = session.producer() else { return };
        let party = Party::Producer(Box::new(producer.numbered(number)));
        let numbered = Session { party, seen: Millis::default(), ..session.clone() };
        let key = RowKey::Session(number);
        self.rows.extend(copied(&mut self.hash, key, Some(rows::session::encode(&numbered))));
        for (first, page) in session.answers.pages() {
            let key = RowKey::Answers(number, *first);
            self.rows.extend(copied(&mut self.hash, key, Some(rows::answers::encode(page))));
        }
    }
}

fn copied(hash: &mut ContentHash, key: RowKey, value: Option<Vec<u8>>) -> Option<CopiedRow> {
    let (key, value) = (key.encode(), value?);
    hash.add(&key, &value);
    Some(CopiedRow { key, value })
}

/// A block's row as it counts in the hash: without where it lies.
pub(super) fn hashed(block: &Block) -> Vec<u8> {
    rows::block::encode(&placed(block.clone(), 0, 0, 0))
}
