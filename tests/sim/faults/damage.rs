//! Disks that lose or change what they hold. Only one node at a time: the promise is about a minority.

use super::{Kind, Undo};
use crate::cluster::Process;
use crate::rng::Rng;
use crate::world::World;

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    let at = world.frail().filter(|_| kind != Kind::TornWrite).or_else(|| rng.pick(&world.up()))?;
    if world.cluster.node(at).process() != Process::Up {
        return None;
    }
    let host = world.cluster.node(at).host.clone();
    if kind == Kind::TornWrite {
        let node = world.cluster.node(at);
        node.provoked.set(true);
        let operations = rng.below(20);
        node.disk.cut_power_after(operations);
        world.torn.push(at);
        return Some(format!("{host} after {operations} calls of its disk"));
    }
    world.impair(at)?;
    let node = world.cluster.node(at);
    node.provoked.set(true);
    let what = match kind {
        Kind::Wipe => {
            node.cut_power(&mut world.sim);
            node.wipe();
            "its disk is empty".to_owned()
        }
        Kind::DamagedStore => {
            node.store.damage();
            "its rows are damaged".to_owned()
        }
        Kind::BitFlip => {
            let (path, offset) = place(world, at, true, rng)?;
            let node = world.cluster.node(at);
            // Gone meanwhile: nothing is damaged.
            node.disk.flip_bit(&path, offset, u8::try_from(rng.below(8)).unwrap_or(0)).ok()?;
            world.corrupt(at);
            format!("a bit of {path} at {offset} flips")
        }
        _ => {
            let (path, offset) = place(world, at, false, rng)?;
            world.cluster.node(at).disk.cut_file(&path, offset).ok()?;
            world.corrupt(at);
            format!("{path} is cut to {offset} bytes")
        }
    };
    // Damage is noticed when it is read: it is not left to lie until another disk is hit.
    let node = world.cluster.node(at);
    if kind != Kind::Wipe {
        node.kill(&mut world.sim);
    }
    let away = rng.ms(20, 1_000);
    world.undo_after(away, Undo::Start(at));
    Some(format!("{host}: {what}"))
}

/// A place in a file that is not in the log's last write: a flip there cannot be told from a tear (DESIGN §5). With
/// `newest` unset it is not in the newest segment at all: a log that ends early at the end of a write ends well.
fn place(world: &World<'_>, at: usize, newest: bool, rng: &mut Rng) -> Option<(String, usize)> {
    let files = world.cluster.node(at).disk.files();
    let last_segment =
        files.iter().map(|(path, ..)| path).filter(|path| path.ends_with(".seg")).max().cloned();
    let mut places = Vec::new();
    for (path, len, last_write) in files {
        let upto = if Some(&path) != last_segment.as_ref() {
            len
        } else if newest {
            last_write
        } else {
            0
        };
        if upto > 0 && !path.starts_with("aside-") {
            places.push((path, upto));
        }
    }
    let (path, upto) = places.get(rng.index(places.len()))?.clone();
    Some((path, usize::try_from(rng.below(upto)).unwrap_or(0)))
}
