//! Making a shard of a copy, step by step, in as many entries as it takes.
//!
//! The steps of one restore are numbered, so that one that comes again changes nothing. Until the last of them the shard is
//! *filling*: what is derived of its rows is not there, nothing is scheduled, and it takes no other operation. Its namespace is
//! closed in group 0 all the time, and group 0 alone says when it is open, for all of its shards at once.

use super::ContentHash;
use super::entry::placed;
use super::rows::hashed;
use crate::applied::{Answer, Reply};
use crate::codec;
use crate::commands::invalid;
use crate::machine::Machine;
use crate::op::Op;
use crate::rows::{self, LoadError, RowKey};
use crate::sessions::{Party, Session};
use crate::shard::{Context, Shard};
use quorate_types::{
    Millis, NamespaceId, NamespaceName, Reason, Refusal, SessionId, ShardPlace, TopicId, probe,
};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::time::Duration;

/// What tells one restore from all others: drawn at random.
pub type RestoreToken = [u8; 16];

/// What a producer cannot end before its restore has: counted from when it was taken in.
const PRODUCERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Rows of one step, so that an entry stays bounded (DESIGN §6.8).
const ROWS_MAX: usize = 10_000;

/// A step of a restore, on one shard. Answer: [`Answer::Restored`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// Which restore.
    pub token: RestoreToken,
    /// Which step of it on this shard, from 0. One that was done is answered and not done again; one too many is refused.
    pub number: u64,
    /// What to do.
    pub step: RestoreStep,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreStep {
    /// The first: the shard, which is empty, begins to fill.
    Begin(CopyHead),
    /// Takes rows in, save those of blocks.
    Rows(Vec<CopiedRow>),
    /// Takes blocks in, whose payloads are parts of the entry's block, as fragments, in order.
    Blocks(Vec<CopiedEntry>),
    /// The last: the shard is whole, and works.
    End,
}

/// What is to be known of a copy first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyHead {
    /// Which one of its namespace's shards it is of.
    pub place: ShardPlace,
    /// Log time when it was made: time goes on from there.
    pub now: Millis,
    /// The last id that a topic had,
    pub last_topic: u64,
    /// a subscription,
    pub last_subscription: u64,
    /// and the last number of a binding.
    pub last_binding: u64,
    /// How many producers it has.
    pub producers: u64,
}

/// A row of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedRow {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Blocks of topics that are parts of one piece of payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedEntry {
    /// The rows of the blocks.
    pub rows: Vec<CopiedRow>,
    /// Length of the piece.
    pub fragment_bytes: u32,
}

/// What group 0 does for a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceRestore {
    /// Creates a namespace that is closed until its restore ends. There already by this restore: done. One that is there
    /// otherwise is deleted first, which the proposer has closed as if for that. Answer: [`Answer::NamespaceCreated`].
    Begin {
        /// Its name.
        namespace: NamespaceName,
        /// How many groups.
        shards: u32,
        /// By which restore.
        token: RestoreToken,
        /// The one that is there, empty and closed at that revision.
        emptied: Option<(NamespaceId, u64)>,
    },
    /// All of its shards are whole: it is opened.
    Open {
        /// Which one.
        id: NamespaceId,
        /// By which restore.
        token: RestoreToken,
    },
    /// The restore is given up: the namespace goes, with all that its shards have. `default` is created anew.
    GiveUp {
        /// Which one.
        id: NamespaceId,
    },
}

impl Restore {
    /// Length of its part of the block.
    pub(crate) fn fragment_bytes(&self) -> u64 {
        match &self.step {
            RestoreStep::Blocks(entries) => entries.iter().map(|entry| u64::from(entry.fragment_bytes)).sum(),
            _ => 0,
        }
    }

    /// Bytes that it has in memory, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rows = |rows: &[CopiedRow]| {
            rows.iter().map(|row| size_of::<CopiedRow>() + row.key.len() + row.value.len()).sum::<usize>()
        };
        size_of::<Self>()
            + match &self.step {
                RestoreStep::Rows(all) => rows(all),
                RestoreStep::Blocks(entries) => {
                    entries.iter().map(|entry| size_of::<CopiedEntry>() + rows(&entry.rows)).sum()
                }
                RestoreStep::Begin(_) | RestoreStep::End => 0,
            }
    }

    fn rows(&self) -> usize {
        match &self.step {
            RestoreStep::Rows(rows) => rows.len(),
            RestoreStep::Blocks(entries) => entries.iter().map(|entry| entry.rows.len()).sum(),
            RestoreStep::Begin(_) | RestoreStep::End => 0,
        }
    }
}

/// How far a restore has come on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restoring {
    pub(crate) token: RestoreToken,
    /// The number of the next step.
    pub(crate) next: u64,
    /// The sessions behind this one are those of the copy's producers.
    pub(crate) sessions_after: u64,
    pub(crate) producers: u64,
    /// Of what was taken in.
    pub(crate) hash: ContentHash,
    pub(crate) is_whole: bool,
    /// Its rows do not make a shard: nothing but a delete of its namespace goes on from here.
    pub(crate) is_broken: bool,
}

impl Machine {
    /// `fragment`: byte position of the first piece of payload in the entry's block.
    pub(crate) fn restore(
        &mut self,
        restore: &Restore,
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        let known = self.shard_only()?.restoring;
        match (&restore.step, known) {
            (_, Some(known)) if known.token != restore.token => {
                return Err(refused("it is restored from another copy"));
            }
            (_, Some(known)) if known.is_broken => return Err(refused("its rows do not make a shard")),
            (_, Some(known)) if restore.number < known.next => return Ok(known.answer()),
            (RestoreStep::Begin(head), None) if restore.number == 0 => {
                self.begin_restore(restore.token, head, ctx)?
            }
            (_, Some(known)) if restore.number == known.next && !known.is_whole => {
                if restore.rows() > ROWS_MAX {
                    return Err(refused(format_args!("a step has more than {ROWS_MAX} rows")));
                }
                match &restore.step {
                    RestoreStep::Begin(_) => return Err(refused("it has begun")),
                    RestoreStep::Rows(rows) => rows.iter().try_for_each(|row| self.take_row(row, ctx))?,
                    RestoreStep::Blocks(entries) => self.take_blocks(entries, fragment, ctx)?,
                    RestoreStep::End => self.end_restore(ctx)?,
                }
            }
            _ => return Err(refused(format_args!("step {} is not the next one", restore.number))),
        }
        let shard = self.shard_only()?;
        let restoring = shard.restoring.as_mut().ok_or_else(|| refused("it has not begun"))?;
        restoring.next = restore.number.saturating_add(1);
        ctx.touch(RowKey::Restore);
        Ok(restoring.answer())
    }

    fn begin_restore(
        &mut self,
        token: RestoreToken,
        head: &CopyHead,
        ctx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        if head.producers > u64::from(ctx.limits.producers_max) {
            return Err(refused("it has more producers than a shard may have"));
        }
        let numbers = [head.now.get(), head.last_topic, head.last_subscription, head.last_binding];
        codec::counted(&numbers).map_err(refused)?;
        let sessions_after = self.sessions.last_id;
        let shard = self.shard_only()?;
        if !shard.topics.is_empty() || !shard.subscriptions.is_empty() {
            return Err(refused("the shard is not empty"));
        }
        if shard.place != head.place {
            return Err(refused("the copy is one of another shard"));
        }
        (shard.last_topic, shard.last_subscription) = (head.last_topic, head.last_subscription);
        shard.last_binding = head.last_binding;
        let hash = ContentHash::default();
        let producers = head.producers;
        shard.restoring = Some(Restoring {
            token,
            next: 0,
            sessions_after,
            producers,
            hash,
            is_whole: false,
            is_broken: false,
        });
        self.sessions.last_id = sessions_after.saturating_add(producers);
        self.set_now(head.now);
        ctx.touch(RowKey::Meta);
        Ok(())
    }

    fn take_row(&mut self, row: &CopiedRow, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        let key = RowKey::decode(&row.key).ok_or_else(|| refused(LoadError::Key(row.key.clone())))?;
        let here = match key {
            RowKey::Session(number) => self.take_producer(number, &row.value, ctx.now)?,
            RowKey::Answers(number, first) => {
                let here = RowKey::Answers(self.session_here(number)?, first);
                self.take_known(here, &row.value)?;
                here
            }
            RowKey::Topic(_)
            | RowKey::Binding(..)
            | RowKey::TopicBinding(..)
            | RowKey::CatchUp(..)
            | RowKey::MessageIds(..)
            | RowKey::Newest(..)
            | RowKey::Times(..)
            | RowKey::Subscription(_)
            | RowKey::Page(..)
            | RowKey::Mark(..) => {
                self.take_known(key, &row.value)?;
                key
            }
            _ => return Err(refused(LoadError::Key(row.key.clone()))),
        };
        ctx.touch(here);
        self.add_to_hash(&row.key, &row.value)
    }

    /// Takes a row as it is, which must be new and give itself back.
    fn take_known(&mut self, key: RowKey, value: &[u8]) -> Result<(), Refusal> {
        if self.row(key).is_some() {
            return Err(refused(LoadError::contradiction(key)));
        }
        self.load_row(key, value).map_err(refused)?;
        match self.row(key) {
            Some(back) if back == value => Ok(()),
            _ => Err(refused(LoadError::contradiction(key))),
        }
    }

    /// It goes on under a session of this shard, and does not end before the restore has.
    fn take_producer(&mut self, number: SessionId, value: &[u8], now: Millis) -> Result<RowKey, Refusal> {
        let id = self.session_here(number)?;
        let key = RowKey::Session(number);
        let session =
            rows::session::decode(value).map_err(|source| refused(LoadError::value(key, source)))?;
        let producer = session.producer().filter(|p| p.began == number && p.former.is_none());
        let producer = producer.ok_or_else(|| refused(LoadError::contradiction(key)))?;
        if self.sessions.get(id).is_some() || self.sessions.producer(&producer.name).is_some() {
            return Err(refused(LoadError::contradiction(key)));
        }
        let party = Party::Producer(Box::new(producer.numbered(id)));
        self.sessions.insert(id, Session { party, seen: now.after(PRODUCERS_KEPT), ..session });
        Ok(RowKey::Session(id))
    }

    fn session_here(&mut self, number: SessionId) -> Result<SessionId, Refusal> {
        let restoring = self.shard_only()?.restoring;
        let there = restoring.filter(|restoring| (1..=restoring.producers).contains(&number.get()));
        let there = there.ok_or_else(|| refused("it has more producers than it says"))?;
        Ok(SessionId::new(there.sessions_after.saturating_add(number.get())))
    }

    fn take_blocks(
        &mut self,
        entries: &[CopiedEntry],
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let mut at = fragment.ok_or_else(|| refused("the payloads do not make up the entry's block"))?;
        for entry in entries {
            for row in &entry.rows {
                let key = RowKey::decode(&row.key).ok_or_else(|| refused(LoadError::Key(row.key.clone())))?;
                let RowKey::Block(topic, first) = key else {
                    return Err(refused(LoadError::Key(row.key.clone())));
                };
                let hashed = self.shard_only()?.take_block((topic, first), &row.value, (at, entry), ctx)?;
                self.add_to_hash(&row.key, &hashed)?;
            }
            // All of them lie within the block: that they make it up was checked for the entry.
            at = at.saturating_add(entry.fragment_bytes);
        }
        Ok(())
    }

    fn add_to_hash(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if let Some(restoring) = &mut self.shard_only()?.restoring {
            restoring.hash.add(key, value);
        }
        Ok(())
    }

    fn end_restore(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        let shard = self.shard_only()?;
        let loaded = shard.loaded(|_| false);
        let Some(restoring) = &mut shard.restoring else { return Ok(()) };
        if let Err(error) = loaded {
            restoring.is_broken = true;
            ctx.touch(RowKey::Restore);
            return Err(refused(error));
        }
        restoring.is_whole = true;
        let first = restoring.sessions_after.saturating_add(1);
        let end = first.saturating_add(restoring.producers);
        for id in (first..end).map(SessionId::new) {
            self.sessions.see(id, ctx.now, ctx.dirty);
        }
        probe::sometimes("shard restored");
        Ok(())
    }
}

impl Op {
    /// Whether a shard takes it though a restore goes on there.
    pub(crate) fn is_taken_while_filling(&self) -> bool {
        matches!(
            self,
            Self::Hello { .. }
                | Self::OpenSession { .. }
                | Self::CloseSession { .. }
                | Self::ExpireNode { .. }
                | Self::Tick
                | Self::RaiseVersion { .. }
                | Self::OpenShard { .. }
                | Self::Restore(_)
        )
    }
}

impl Shard {
    /// Whether a restore has begun here and not ended.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.restoring.is_some_and(|restoring| !restoring.is_whole)
    }

    /// What was restored here by that restore; `None` when that has not ended, or is not known.
    #[must_use]
    pub fn restored_by(&self, token: &RestoreToken) -> Option<ContentHash> {
        self.restoring.filter(|r| r.is_whole && r.token == *token).map(|restoring| restoring.hash)
    }

    /// A block of a topic whose piece of payload begins at byte `at` of this entry. Answers its row as it counts in the hash.
    fn take_block(
        &mut self,
        (topic, first): (TopicId, u64),
        value: &[u8],
        (at, entry): (u32, &CopiedEntry),
        ctx: &mut Context<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        let key = RowKey::Block(topic, first);
        let block = rows::block::decode(value).map_err(|source| refused(LoadError::value(key, source)))?;
        // A reference has its share of what was published, which is no part of the payload by itself.
        let bytes = if block.origin.is_some() { 0 } else { block.bytes };
        let fits = block.fragment.checked_add(bytes).is_some_and(|end| end <= entry.fragment_bytes);
        if !fits || entry.fragment_bytes == 0 {
            return Err(refused(LoadError::contradiction(key)));
        }
        let hashed = hashed(&block);
        let fragment = at.saturating_add(block.fragment);
        self.load_block(key, (topic, first), placed(block, ctx.id.index, fragment, ctx.block_bytes))
            .map_err(refused)?;
        ctx.touch(key);
        Ok(hashed)
    }
}

impl Restoring {
    fn answer(&self) -> Answer {
        Answer::Restored { next: self.next, hash: self.hash }
    }
}

fn refused(why: impl Display) -> Refusal {
    invalid(format!("the namespace cannot be restored: {why}; delete it"))
}

/// What a shard says to everything else while it fills.
pub(crate) fn closed() -> Refusal {
    Refusal::new(
        Reason::NamespaceRestoring,
        "the namespace is being restored: it is open when all of it is there",
    )
}
