//! By which version of the machine a group decides: raised by its leader when all nodes with a replica know a newer one.
//!
//! So a cluster whose nodes are upgraded one after the other goes on deciding as before until the last of them runs the newer
//! program, and what only that one can do is refused (`UPGRADING`) until then. A node that comes with an older program afterwards
//! stops: it could not decide as the others do. A node that is away holds the version where it is.

use crate::core::Core;
use quorate_consensus::Group;
use quorate_machine::{Machine, Op};
use quorate_types::NodeId;

/// Raises the version, if that is possible now.
pub(crate) async fn raise(core: &Core, group: &Group) {
    let version = group.read(Machine::version);
    if version >= core.machine_version_max {
        return;
    }
    let members = group.members();
    let others = members.voters.iter().chain(&members.learners).map(|member| member.node);
    let known = others.filter(|node| *node != core.me.node).map(|node| known_by(core, node));
    let Some(to) = known.chain([Some(core.machine_version_max)]).min().flatten() else { return };
    if to <= version {
        return;
    }
    tracing::info!(group = %group.id(), from = version, to, "all nodes know a newer version of the machine: the group decides by it from here on");
    if let Err(refusal) = core.gateway.propose_as_leader(group.id(), Op::RaiseVersion { to }).await {
        tracing::debug!(group = %group.id(), %refusal, "the version was not raised; the next attempt follows");
    }
}

/// The newest version that a node goes along with; `None` when it was not heard of lately: who knows with which program it comes
/// back.
fn known_by(core: &Core, node: NodeId) -> Option<u32> {
    let heard = core.liveness.last_heard(node)?;
    (heard.at.elapsed() < core.session_timeout).then_some(heard.machine_version)
}
