//! Clients that die and come back.

use super::Undo;
use crate::rng::Rng;
use crate::trace;
use crate::workload::HOSTS;
use crate::world::World;

pub(super) fn begin(world: &mut World<'_>, rng: &mut Rng) -> Option<String> {
    let at = rng.index(HOSTS.len());
    let host = HOSTS.get(at)?;
    if !world.sim.is_host_running(*host) {
        return None;
    }
    world.sim.crash(*host);
    world.shared.abandon(at);
    let away = rng.ms(50, 2_000);
    world.undo_after(away, Undo::StartClients(at));
    Some(format!("{host} for {away:?}"))
}

pub(super) fn start(world: &mut World<'_>, at: usize) {
    let Some(host) = HOSTS.get(at) else { return };
    trace::line(format_args!("{host} starts"));
    world.sim.bounce(*host);
}
