//! Changes of leaders and members in the middle of everything.

use super::Kind;
use crate::rng::Rng;
use crate::world::World;

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    if kind == Kind::Transfer {
        let leader = world.leader()?;
        let node = world.cluster.node(leader);
        node.hand_over();
        return Some(format!("{} is asked to hand over", node.host));
    }
    let leader = world.shard_leader()?;
    let others: Vec<usize> = world.up().into_iter().filter(|at| *at != leader).collect();
    let at = rng.pick(&others)?;
    // With one voter less a second loss would be one of a majority.
    world.impair(at)?;
    let node = world.cluster.node(at);
    world.cluster.node(leader).unseat(node.id);
    Some(format!("{} loses its vote", node.host))
}
