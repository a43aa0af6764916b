//! The machine itself: sessions, time and the chain of hashes around a shard or the system.

use crate::applied::{Applied, Effect, Reply};
use crate::backup::closed;
use crate::batch::{Batch, Envelope, Origin};
use crate::chain;
use crate::op::Op;
use crate::producers::ProducerView;
use crate::rows::RowKey;
use crate::sessions::{Admission, Sessions};
use crate::shard::{Context, Shard, Violation};
use crate::system::System;
use quorate_types::{
    BootId, GroupId, Limits, LogId, Millis, NodeId, ProducerName, Reason, Refusal, SessionId,
};
use std::collections::BTreeSet;

mod dispatch;
mod load;

/// A node's conversation with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSession {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub node: NodeId,
    /// For which start of it.
    pub boot: BootId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Shard(Box<Shard>),
    System(Box<System>),
}

/// The replicated state of one group.
#[derive(Clone, Debug)]
pub struct Machine {
    group: GroupId,
    applied: Option<LogId>,
    now: Millis,
    hash: u64,
    /// By which version it decides.
    version: u32,
    pub(crate) sessions: Sessions,
    body: Body,
    limits: Limits,
    /// Rows that changed since they were last taken.
    dirty: BTreeSet<RowKey>,
}

impl Machine {
    /// The newest version of what `apply` decides that this program knows. Which one counts is a fact of each group
    /// ([`Self::version`]), so that replicas decide alike while nodes run different programs.
    pub const VERSION: u32 = 2;
    /// The version by which a group begins.
    pub const VERSION_FIRST: u32 = 1;

    /// The state before the first entry.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self::with_limits(group, Limits::default())
    }

    /// The state before the first entry, with other limits. They are part of the state: all replicas of a group
    /// must begin with the same.
    #[must_use]
    pub fn with_limits(group: GroupId, limits: Limits) -> Self {
        let body =
            if group == GroupId::SYSTEM { Body::System(Box::default()) } else { Body::Shard(Box::default()) };
        Self {
            group,
            applied: None,
            now: Millis::default(),
            hash: 0,
            version: Self::VERSION_FIRST,
            sessions: Sessions::default(),
            body,
            limits,
            dirty: BTreeSet::from([RowKey::Meta, RowKey::Limits]),
        }
    }

    /// Applies one committed entry: all of it, in order. Never panics, whatever the batch holds.
    pub fn apply(&mut self, id: LogId, batch: &Batch) -> Applied {
        self.now = self.now.max(batch.stamp);
        let mut dirty = std::mem::take(&mut self.dirty);
        let limits = self.limits.clone();
        let mut ctx = Context::new(id, self.now, &limits, &mut dirty);
        ctx.block_bytes = u32::try_from(batch.block.len()).unwrap_or(u32::MAX);
        let mut fragment = fragments_fit(batch).then_some(0u32);
        let mut replies = Vec::with_capacity(batch.ops.len());
        for envelope in &batch.ops {
            replies.push(self.apply_one(envelope, fragment, &mut ctx));
            let bytes = u32::try_from(envelope.op.fragment_bytes()).ok();
            fragment = fragment.and_then(|at| at.checked_add(bytes?));
        }
        let block = !batch.block.is_empty();
        match &mut self.body {
            Body::Shard(shard) => shard.finish(block, &mut ctx),
            Body::System(_) if block => ctx.effects.push(Effect::DropBlock { index: id.index }),
            Body::System(_) => {}
        }
        let ended = std::mem::take(&mut ctx.ended);
        let applied = Applied { replies, effects: ctx.into_effects(), ended };
        self.dirty = dirty;
        self.advance(id, Some(batch), &applied);
        applied
    }

    /// An entry that is Raft's own (blank, membership): only the position and the chain move.
    pub fn skip(&mut self, id: LogId) {
        self.advance(id, None, &Applied::default());
    }

    /// Which group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The newest entry.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// Log time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The chain over everything that was applied: equal on replicas that applied the same entries.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The version by which the group decides.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Time goes on from there, if it is later than now.
    pub(crate) fn set_now(&mut self, at_least: Millis) {
        self.now = self.now.max(at_least);
    }

    pub(crate) fn set_version(&mut self, version: u32) {
        self.version = version;
    }

    /// What this group accepts.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When a tick has something to do; not after [`Self::now`] when it has at once.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        let body = self.shard().map_or_else(|| self.system().and_then(System::next_due), Shard::next_due);
        [body, self.sessions.next_end()].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Entries whose block is needed, in order.
    #[must_use]
    pub fn live_blocks(&self) -> Vec<u64> {
        self.shard().map(Shard::live_blocks).unwrap_or_default()
    }

    /// The state of a shard; `None` for group 0.
    #[must_use]
    pub fn shard(&self) -> Option<&Shard> {
        match &self.body {
            Body::Shard(shard) => Some(shard),
            Body::System(_) => None,
        }
    }

    pub(crate) fn shard_mut(&mut self) -> Option<&mut Shard> {
        match &mut self.body {
            Body::Shard(shard) => Some(shard),
            Body::System(_) => None,
        }
    }

    /// The state of group 0; `None` for a shard.
    #[must_use]
    pub fn system(&self) -> Option<&System> {
        match &self.body {
            Body::System(system) => Some(system),
            Body::Shard(_) => None,
        }
    }

    pub(crate) fn system_mut(&mut self) -> Option<&mut System> {
        match &mut self.body {
            Body::System(system) => Some(system),
            Body::Shard(_) => None,
        }
    }

    /// The nodes' conversations, by node.
    #[must_use]
    pub fn node_sessions(&self) -> Vec<NodeSession> {
        let sessions = self.sessions.of_nodes();
        sessions.map(|(node, session, boot)| NodeSession { session, node, boot }).collect()
    }

    /// The producers, by name.
    pub fn producers(&self) -> impl Iterator<Item = ProducerView> {
        self.sessions.producers.sessions().filter_map(|id| self.view_producer(id))
    }

    /// A producer by its name.
    #[must_use]
    pub fn producer(&self, name: &ProducerName) -> Option<ProducerView> {
        self.sessions.producers.by_name(name).and_then(|id| self.view_producer(id))
    }

    fn view_producer(&self, id: SessionId) -> Option<ProducerView> {
        let session = self.sessions.get(id)?;
        let producer = session.producer()?;
        Some(ProducerView {
            name: producer.name.clone(),
            session: id,
            epoch: producer.epoch,
            last: session.last,
            seen: session.seen,
            timeout: producer.timeout,
        })
    }

    /// All rules, by going through all of the state: for tests and for a closer look.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let producers = self.sessions.misplaced_producers().map(|session| Violation::Producer { session });
        producers.chain(self.shard().map(|shard| shard.check(self.now())).unwrap_or_default()).collect()
    }

    /// Rules that do not hold, among those that can be checked in passing; empty when all is well. See
    /// [`Self::check`] for all of them.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shard().map(Shard::violations).unwrap_or_default()
    }

    fn apply_one(&mut self, envelope: &Envelope, fragment: Option<u32>, ctx: &mut Context<'_>) -> Reply {
        let Origin::Session { session, sequence } = envelope.origin else {
            return self.decide(&envelope.op, None, fragment, ctx);
        };
        match self.sessions.admit(session, sequence, ctx.limits.answers_max) {
            Admission::Reply(reply) => reply,
            Admission::Next => {
                let reply = self.decide(&envelope.op, Some(session), fragment, ctx);
                self.sessions.answer(session, &reply, ctx.now, ctx.limits.answers_max, ctx.dirty);
                reply
            }
        }
    }

    /// What came with a newer version than the group decides by is refused, by every replica alike.
    fn decide(
        &mut self,
        op: &Op,
        origin: Option<SessionId>,
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        if op.since() > self.version {
            return Err(upgrading(op.since(), self.version));
        }
        if self.shard().is_some_and(Shard::is_filling) && !op.is_taken_while_filling() {
            return Err(closed());
        }
        self.perform(op, origin, fragment, ctx)
    }

    /// Ends a node's session, and takes its consumers away.
    pub(crate) fn end_session(&mut self, session: SessionId, why: &Refusal, ctx: &mut Context<'_>) {
        self.sessions.end(session, self.version(), ctx.dirty);
        if let Some(shard) = self.shard_mut() {
            shard.leave(session, why, ctx);
        }
    }

    fn advance(&mut self, id: LogId, batch: Option<&Batch>, applied: &Applied) {
        self.hash = chain::next(self.hash, id, batch, applied);
        self.applied = Some(id);
        self.dirty.insert(RowKey::Meta);
    }
}

/// An operation that came with a version by which a group does not decide yet.
#[must_use]
pub fn upgrading(needed: u32, version: u32) -> Refusal {
    let text = format!(
        "this needs version {needed} of the machine, and the group decides by version {version} until all its nodes know a newer one: upgrade those with an older program"
    );
    Refusal::new(Reason::Upgrading, text)
}

/// Whether the lengths that the publishes claim make up the block.
fn fragments_fit(batch: &Batch) -> bool {
    let fragments = batch.ops.iter().map(|e| e.op.fragment_bytes());
    fragments.sum::<u64>() == batch.block.len() as u64 && u32::try_from(batch.block.len()).is_ok()
}
