//! Groups that have no replica on this node: nodes that have one do what is asked for (DESIGN §6.12).

use super::Gateway;
use crate::forwarder::{decode_envelope, decode_reply, encode_envelope};
use quorate_machine::{Answer, Envelope, NodeRecord, Op, Origin, Reply, System};
use quorate_types::{GroupId, NodeId, Reason, Refusal};
use quorate_wire::{peer, refusal_of};
use tokio::time::{Instant, timeout_at};

impl Gateway {
    /// A node to ask about groups of which this node has not all; `None` when they are here, or nobody has all of them.
    pub(crate) fn nearest(&self, groups: &[GroupId]) -> Option<NodeRecord> {
        let system = self.running(GroupId::SYSTEM).ok()?.group;
        system.read(|machine| {
            let system = machine.system()?;
            let me = self.me().node;
            if groups.iter().all(|group| has(system, *group, me)) {
                return None;
            }
            let able = |record: &NodeRecord| groups.iter().all(|group| has(system, *group, record.node));
            let candidates = system.nodes().into_iter().filter(|record| record.node != me && able(record));
            // One that is there, and not the same one for all who ask.
            candidates.min_by_key(|record| {
                let silent = self.liveness().heard(record.node).map(|at| at.elapsed().as_secs() / 2);
                let draining = system.drain().is_some_and(|drain| drain.node == record.node);
                (silent.is_none(), silent, draining, record.node.get().wrapping_sub(me.get()))
            })
        })
    }

    /// A node to ask about a group that is not here.
    pub(super) fn elsewhere(&self, group: GroupId) -> Option<NodeRecord> {
        if group == GroupId::SYSTEM || self.running(group).is_ok() { None } else { self.nearest(&[group]) }
    }

    /// One operation, done by a node that has the group.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn call_there(
        &self,
        there: NodeRecord,
        group: GroupId,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let request = peer::ProposeRequest {
            link: Some(self.link(there.voter())),
            group: group.get(),
            envelope: encode_envelope(&envelope),
        };
        let mut client = self.peer(&there.peer_address)?;
        let asked = timeout_at(deadline, client.propose(request)).await;
        let unknown = || {
            let text = format!("node {} has not answered for group {group} in time", there.node);
            Refusal::new(Reason::NoQuorum, text)
        };
        let answer = asked.map_err(|_| unknown())?.map_err(|status| refusal_of(&status))?;
        let reply = decode_reply(&answer.into_inner().reply);
        reply.map_err(|e| Refusal::new(Reason::Unavailable, e.to_string()))?
    }

    /// What [`Self::call_there`] asks for. Answered only here: a view that is older than the asker's is no reason to go round.
    ///
    /// # Errors
    /// Retryable refusals: whether it was done is not known.
    pub(crate) async fn propose_for(&self, group: GroupId, envelope: &[u8]) -> Result<Reply, Refusal> {
        let invalid = |text: String| Refusal::new(Reason::InvalidArgument, text);
        let Envelope { origin, op } = decode_envelope(envelope).map_err(|e| invalid(e.to_string()))?;
        if group == GroupId::SYSTEM
            || op.fragment_bytes() > 0
            || matches!(op, Op::Tick | Op::ExpireNode { .. })
        {
            return Err(invalid(format!("node {} does not do this for another one", self.me().node)));
        }
        let deadline = self.deadline();
        self.serving(group)?;
        let reply = match origin {
            Origin::Leader => self.call_of_node(group, op, deadline).await,
            Origin::Session { session, sequence } => {
                self.call_numbered_here(group, op, (session, sequence), deadline).await
            }
        };
        match reply {
            Err(refusal) if refusal.is_retryable() => Err(refusal),
            decided => Ok(decided),
        }
    }
}

/// Whether a node has a replica that serves: where a group moves to, it is being built.
fn has(system: &System, group: GroupId, node: NodeId) -> bool {
    group == GroupId::SYSTEM
        || system.placement(group).is_some_and(|placement| placement.nodes.contains(&node))
}
