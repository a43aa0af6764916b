//! Processes and machines that die and come back.

use super::{Kind, Undo};
use crate::cluster::Process;
use crate::rng::Rng;
use crate::world::World;

/// What happens to a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    PowerCut,
}

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    let up = world.up();
    match kind {
        Kind::Kill => one(world, rng, End::Kill, (20, 1_500)),
        Kind::PowerCut => one(world, rng, End::PowerCut, (20, 1_500)),
        Kind::KeptAway => one(world, rng, End::Kill, (3_000, 6_000)),
        Kind::KillMajority => some(world, rng, End::Kill, world.cluster.nodes.len() / 2 + 1),
        Kind::PowerCutAll => some(world, rng, End::PowerCut, world.cluster.nodes.len()),
        _ => {
            let at = rng.pick(&up)?;
            world.cluster.node(at).stop();
            Some(format!("{} is asked to stop", world.cluster.node(at).host))
        }
    }
}

fn one(world: &mut World<'_>, rng: &mut Rng, how: End, away_ms: (u64, u64)) -> Option<String> {
    let at = rng.pick(&world.up())?;
    down(world, at, how);
    let away = rng.ms(away_ms.0, away_ms.1);
    world.undo_after(away, Undo::Start(at));
    Some(format!("{} for {away:?}", world.cluster.node(at).host))
}

fn some(world: &mut World<'_>, rng: &mut Rng, how: End, count: usize) -> Option<String> {
    let mut up = world.up();
    let mut gone = Vec::new();
    while gone.len() < count && !up.is_empty() {
        gone.push(up.swap_remove(rng.index(up.len())));
    }
    for at in &gone {
        down(world, *at, how);
        let away = rng.ms(20, 1_000);
        world.undo_after(away, Undo::Start(*at));
    }
    let names: Vec<&str> = gone.iter().map(|at| world.cluster.node(*at).host.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn down(world: &mut World<'_>, at: usize, how: End) {
    let node = world.cluster.node(at);
    match how {
        End::Kill => node.kill(&mut world.sim),
        End::PowerCut => node.cut_power(&mut world.sim),
    }
}

/// Starts a node, if it is down.
pub(super) fn start(world: &mut World<'_>, at: usize) {
    let node = world.cluster.node(at);
    if node.process() == Process::Down {
        node.start(&mut world.sim);
    }
}
