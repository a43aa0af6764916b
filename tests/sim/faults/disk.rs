//! Disks that are slow, stand still, fill up or fail.

use super::{Kind, Undo};
use crate::rng::Rng;
use crate::trace;
use crate::world::World;
use std::time::Duration;

/// As good as unlimited.
const ROOM_BYTES: u64 = 1 << 40;

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    let at = rng.pick(&world.up())?;
    let lasting = rng.ms(200, 4_000);
    let node = world.cluster.node(at);
    let host = &node.host;
    match kind {
        Kind::SlowDisk => {
            let most = rng.ms(5, 200);
            let what = format!("{host}: up to {most:?} a call, for {lasting:?}");
            set_latency(world, at, most);
            world.undo_after(lasting, Undo::Quicken(at));
            Some(what)
        }
        Kind::StalledDisk => {
            node.disk.stall(true);
            let what = format!("{host} for {lasting:?}");
            world.undo_after(lasting, Undo::Unstall(at));
            Some(what)
        }
        Kind::FailedSync => {
            let what = format!("a sync of {host} fails soon");
            node.provoked.set(true);
            node.disk.fail_sync_after(rng.below(5));
            Some(what)
        }
        Kind::FullDisk => {
            node.full.set(true);
            let room = rng.between(0, 100) << 10;
            node.disk.set_capacity(node.disk.used_bytes() + room);
            let what = format!("{host} has {room} bytes left for {lasting:?}");
            world.undo_after(lasting, Undo::Empty(at));
            Some(what)
        }
        _ => {
            node.provoked.set(true);
            let applies = rng.below(4);
            node.store.fail_apply_after(applies);
            Some(format!("{host} writes {applies} more batches of rows"))
        }
    }
}

pub(super) fn set_latency(world: &mut World<'_>, at: usize, most: Duration) {
    let node = world.cluster.node(at);
    node.disk.set_latency(most);
    node.store.set_latency(most);
}

pub(super) fn unstall(world: &mut World<'_>, at: usize) {
    trace::line(format_args!("the disk of {} answers", world.cluster.node(at).host));
    world.cluster.node(at).disk.stall(false);
}

pub(super) fn empty(world: &mut World<'_>, at: usize) {
    trace::line(format_args!("the disk of {} has room", world.cluster.node(at).host));
    let node = world.cluster.node(at);
    node.disk.set_capacity(ROOM_BYTES);
    // What was refused while it was full may still be on its way to stop the node.
    node.provoked.set(true);
    node.full.set(false);
}
