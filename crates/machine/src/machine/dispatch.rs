//! From an operation to the file that does it.

use super::{Body, Machine};
use crate::applied::Reply;
use crate::op::Op;
use crate::shard::{Context, Shard};
use crate::system::System;
use quorate_types::{ConsumerId, GroupId, NodeId, Reason, Refusal, SessionId};

impl Machine {
    /// Does one admitted operation. `origin`: the session that asks; `None` for the leader. `fragment`: where a
    /// publish's payloads begin.
    pub(super) fn perform(
        &mut self,
        op: &Op,
        origin: Option<SessionId>,
        fragment: Option<u32>,
        ctx: &mut Context<'_>,
    ) -> Reply {
        match op {
            Op::Hello { node, boot } => self.hello(*node, *boot, ctx),
            Op::OpenSession { timeout } => self.open_session(*timeout, ctx),
            Op::OpenProducer { producer, instance, timeout } => {
                self.open_producer(producer, *instance, *timeout, ctx)
            }
            Op::DeleteProducer { producer } => self.delete_producer(producer, ctx),
            Op::CloseSession { session } => self.close_session(*session, ctx),
            Op::ExpireNode { session } => self.expire_node(*session, ctx),
            Op::Tick => self.tick(ctx),
            Op::RaiseVersion { to } => {
                by_leader(origin)?;
                self.raise_version(*to, ctx)
            }
            Op::FormCluster { nodes } => self.system_only()?.form(nodes, ctx),
            Op::RegisterNode { node } => {
                let version = self.version();
                self.system_only()?.register(node, version, ctx)
            }
            Op::CreateNamespace { namespace, shards } => {
                self.system_only()?.create_namespace(namespace, *shards, ctx)
            }
            Op::KeepNamespace { namespace, id } => self.system_only()?.keep_namespace(namespace, *id, ctx),
            Op::DeleteNamespace { namespace, id, revision } => {
                self.system_only()?.delete_namespace(namespace, *id, *revision, ctx)
            }
            Op::Access(change) => self.system_only()?.change_access(change, ctx),
            Op::PutQuota { of, quota } => self.system_only()?.put_quota(of, *quota, ctx),
            Op::DeleteQuota { of } => self.system_only()?.delete_quota(of, ctx),
            Op::Attach { consumer, subscription, credit, priority, identity } => {
                let node = self.owner(*consumer, origin)?;
                self.shard_only()?.attach(
                    (*consumer, node),
                    subscription,
                    (*credit, *priority),
                    *identity,
                    ctx,
                )
            }
            Op::Detach { consumer, written } => {
                self.owner(*consumer, origin)?;
                self.shard_only()?.detach_consumer(*consumer, *written, ctx)
            }
            Op::SetCredit { consumer, credit } => {
                self.owner(*consumer, origin)?;
                self.shard_only()?.set_credit(*consumer, *credit, ctx)
            }
            Op::Settle { consumer, settlements } => {
                self.owner(*consumer, origin)?;
                self.shard_only()?.settle(*consumer, settlements, ctx)
            }
            Op::Route { topic, subscription, version, from, to, matches } => {
                self.shard_only()?.route((*topic, *subscription), *version, (*from, *to), matches, ctx)
            }
            Op::Restore(restore) => self.restore(restore, fragment, ctx),
            Op::RestoreNamespace(restore) => self.system_only()?.restore_namespace(restore, ctx),
            Op::Compact { blocks } => self.shard_only()?.compact(blocks, fragment, ctx),
            Op::Gather { blocks } => self.shard_only()?.gather(blocks, fragment, ctx),
            Op::Publish(publish) => {
                numbered(origin)?;
                self.shard_only()?.publish(publish, fragment, ctx)
            }
            Op::PublishEach(publishes) => {
                numbered(origin)?;
                self.shard_only()?.publish_each(publishes, fragment, ctx)
            }
            Op::Commit(commit) => {
                numbered(origin)?;
                self.shard_only()?.commit(commit, fragment, ctx)
            }
            Op::Purge { subscription } => {
                numbered(origin)?;
                self.shard_only()?.purge(subscription, ctx)
            }
            Op::Cancel { topic, offset } => {
                numbered(origin)?;
                self.shard_only()?.cancel(topic, *offset, ctx)
            }
            Op::Seek { subscription, to } => {
                numbered(origin)?;
                self.shard_only()?.seek(subscription, to, ctx)
            }
            Op::Mark { subscription, mark } => {
                numbered(origin)?;
                self.shard_only()?.mark(subscription, mark, ctx)
            }
            Op::DeleteMark { subscription, mark } => {
                numbered(origin)?;
                self.shard_only()?.delete_mark(subscription, mark, ctx)
            }
            Op::JoinNode { .. }
            | Op::RemoveNode { .. }
            | Op::ForgetNode { .. }
            | Op::MoveGroup { .. }
            | Op::GroupMoved { .. }
            | Op::BeginDrain { .. }
            | Op::EndDrain { .. } => self.membership(op, origin, ctx),
            Op::CreateTopic { .. }
            | Op::ConfigureTopic { .. }
            | Op::DeleteTopic { .. }
            | Op::CreateSubscription { .. }
            | Op::DeleteSubscription { .. }
            | Op::Bind { .. }
            | Op::Unbind { .. }
            | Op::BindTopic { .. }
            | Op::UnbindTopic { .. }
            | Op::CloseShard { .. }
            | Op::OpenShard { .. } => self.metadata(op, ctx),
        }
    }

    fn membership(&mut self, op: &Op, origin: Option<SessionId>, ctx: &mut Context<'_>) -> Reply {
        let version = self.version();
        let system = self.system_only()?;
        match op {
            Op::JoinNode { node, zone, new } => system.join_node(node, zone, (*new, version), ctx),
            Op::RemoveNode { node } => system.remove_node(*node, ctx),
            Op::ForgetNode { node } => {
                by_leader(origin)?;
                system.forget_node(*node, ctx)
            }
            Op::MoveGroup { group, from, to } => {
                by_leader(origin)?;
                system.move_group(*group, from, to, ctx)
            }
            Op::GroupMoved { group, to } => system.group_moved(*group, to, ctx),
            Op::BeginDrain { node, lasts } => system.begin_drain(*node, *lasts, ctx),
            Op::EndDrain { node } => system.end_drain(*node, ctx),
            _ => Err(Refusal::new(Reason::InvalidArgument, "this operation is not about nodes")),
        }
    }

    fn metadata(&mut self, op: &Op, ctx: &mut Context<'_>) -> Reply {
        let shard = self.shard_only()?;
        match op {
            Op::CreateTopic { topic, config } => shard.create_topic(topic, config, ctx),
            Op::ConfigureTopic { topic, config } => shard.configure_topic(topic, config, ctx),
            Op::DeleteTopic { topic } => shard.delete_topic(topic, ctx),
            Op::CreateSubscription { subscription, config, create_topic } => {
                shard.create_subscription(subscription, config, *create_topic, ctx)
            }
            Op::DeleteSubscription { subscription } => shard.delete_subscription(subscription, ctx),
            Op::Bind { topic, subscription, selectors, start, create_topic } => {
                shard.bind((topic, subscription), selectors, *start, *create_topic, ctx)
            }
            Op::Unbind { topic, subscription, selector } => shard.unbind(topic, subscription, selector, ctx),
            Op::BindTopic { from, to, filters } => shard.bind_topic(from, to, filters, ctx),
            Op::UnbindTopic { from, to, filter } => shard.unbind_topic(from, to, filter, ctx),
            Op::CloseShard { revision } => shard.close(*revision, ctx),
            Op::OpenShard { revision, place } => shard.open(*revision, *place, ctx),
            _ => {
                Err(Refusal::new(Reason::InvalidArgument, "this operation is not one of a shard's metadata"))
            }
        }
    }

    pub(crate) fn shard_only(&mut self) -> Result<&mut Shard, Refusal> {
        let group = self.group;
        match &mut self.body {
            Body::Shard(shard) => Ok(shard),
            Body::System(_) => Err(wrong_group(group)),
        }
    }

    fn system_only(&mut self) -> Result<&mut System, Refusal> {
        let group = self.group;
        match &mut self.body {
            Body::System(system) => Ok(system),
            Body::Shard(_) => Err(wrong_group(group)),
        }
    }

    /// The node of the session through which a consumer is attached: only that session may act for it.
    fn owner(&self, consumer: ConsumerId, origin: Option<SessionId>) -> Result<NodeId, Refusal> {
        let node = self.sessions.node(consumer.session).filter(|_| origin == Some(consumer.session));
        node.ok_or_else(|| {
            let text = format!(
                "consumer {consumer} belongs to another session, or to one that is over: attach again"
            );
            Refusal::new(Reason::ConsumerNotFound, text)
        })
    }
}

/// What would be done twice if it came twice needs a number.
fn numbered(origin: Option<SessionId>) -> Result<(), Refusal> {
    match origin {
        Some(_) => Ok(()),
        None => {
            Err(Refusal::new(Reason::InvalidArgument, "this operation needs a session and a sequence number"))
        }
    }
}

/// What only the leader of a group may propose.
fn by_leader(origin: Option<SessionId>) -> Result<(), Refusal> {
    match origin {
        None => Ok(()),
        Some(_) => Err(Refusal::new(Reason::InvalidArgument, "only the leader of the group proposes this")),
    }
}

fn wrong_group(group: GroupId) -> Refusal {
    let text = if group == GroupId::SYSTEM {
        "group 0 holds no topics: send this to a shard of the namespace".to_owned()
    } else {
        format!("group {group} is a shard: send this to group 0")
    };
    Refusal::new(Reason::InvalidArgument, text)
}
