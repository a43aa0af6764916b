//! Wall clocks that are wrong.

use super::Kind;
use crate::rng::Rng;
use crate::world::World;

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    let node = world.cluster.node(rng.index(world.cluster.nodes.len()));
    let signed = |rng: &mut Rng, most: u64| {
        let drawn = i64::try_from(rng.between(0, 2 * most)).unwrap_or(0);
        drawn - i64::try_from(most).unwrap_or(0)
    };
    if kind == Kind::ClockDrift {
        let ppm = signed(rng, 50_000);
        node.clock.set_drift(ppm);
        return Some(format!("{} runs {ppm} ppm too fast", node.host));
    }
    // Small steps of a time daemon, a leap, a machine that was a day off.
    let most = rng.pick(&[50, 3_000, 20_000, 86_400_000]).unwrap_or(50);
    let ms = signed(rng, most);
    node.clock.jump(ms);
    Some(format!("{} jumps by {ms} ms", node.host))
}
