//! Links that are cut, held, slow or unreliable.

use super::{Kind, Undo};
use crate::rng::Rng;
use crate::trace;
use crate::workload::HOSTS;
use crate::world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use turmoil::Sim;

/// Who does not hear whom, counted: faults overlap.
#[derive(Debug, Default)]
pub(crate) struct Links {
    blocked: BTreeMap<(String, String), u32>,
    held: BTreeMap<String, u32>,
}

impl Links {
    fn block(&mut self, sim: &Sim<'_>, links: &[(String, String)]) {
        for (from, to) in links {
            *self.blocked.entry((from.clone(), to.clone())).or_default() += 1;
            sim.partition_oneway(from.as_str(), to.as_str());
        }
    }

    fn unblock(&mut self, sim: &Sim<'_>, links: &[(String, String)]) {
        for link in links {
            let Some(count) = self.blocked.get_mut(link) else { continue };
            *count -= 1;
            if *count == 0 {
                self.blocked.remove(link);
                sim.repair_oneway(link.0.as_str(), link.1.as_str());
            }
        }
    }

    /// Messages to and from a host wait.
    fn hold(&mut self, sim: &Sim<'_>, host: &str, others: &[String]) {
        *self.held.entry(host.to_owned()).or_default() += 1;
        for other in others.iter().filter(|other| *other != host) {
            sim.hold(host, other.as_str());
        }
    }

    fn release(&mut self, sim: &Sim<'_>, host: &str, others: &[String]) {
        let Some(count) = self.held.get_mut(host) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.held.remove(host);
        for other in others.iter().filter(|other| *other != host && !self.held.contains_key(*other)) {
            sim.release(host, other.as_str());
        }
        // A release makes links whole, also those that somebody else has cut.
        for (from, to) in self.blocked.keys() {
            sim.partition_oneway(from.as_str(), to.as_str());
        }
    }
}

pub(super) fn begin(world: &mut World<'_>, kind: Kind, rng: &mut Rng) -> Option<String> {
    let nodes = world.cluster.hosts();
    let lasting = rng.ms(200, 4_000);
    let one = rng.index(nodes.len());
    let other = (one + 1 + rng.index(nodes.len() - 1)) % nodes.len();
    match kind {
        Kind::Pause => pause(world, one, lasting),
        Kind::Loss => {
            let percent = rng.between(1, 10);
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            set_loss(world, percent as f64 / 1_000.0);
            world.undo_after(lasting, Undo::EndLoss);
            Some(format!("{percent} of 1,000 messages break a link, for {lasting:?}"))
        }
        Kind::Delay => {
            let most = rng.ms(30, 250);
            world.sim.set_max_message_latency(most);
            world.undo_after(lasting, Undo::EndDelay);
            Some(format!("up to {most:?}, for {lasting:?}"))
        }
        _ => {
            let links = match kind {
                Kind::Halves => both(&[nodes[one].clone()], &rest(&nodes, one), rng.percent(50)),
                Kind::OneWay => vec![(nodes[one].clone(), nodes[other].clone())],
                Kind::Bridge => both(&[nodes[one].clone()], &[nodes[other].clone()], false),
                Kind::IsolateLeader => {
                    let leader = world.leader()?;
                    both(&[nodes[leader].clone()], &rest(&nodes, leader), rng.percent(30))
                }
                _ => {
                    let clients: Vec<String> = HOSTS.iter().map(|h| (*h).to_owned()).collect();
                    pairs(&clients, &[nodes[one].clone()])
                }
            };
            world.links.block(&world.sim, &links);
            let what = format!("{links:?} for {lasting:?}");
            world.undo_after(lasting, Undo::Unblock(links));
            Some(what)
        }
    }
}

/// Both directions between two sets of nodes; with `clients`, the first set loses its clients too.
fn both(one: &[String], other: &[String], clients: bool) -> Vec<(String, String)> {
    let mut links = pairs(one, other);
    if clients {
        let hosts: Vec<String> = HOSTS.iter().map(|h| (*h).to_owned()).collect();
        links.extend(pairs(one, &hosts));
    }
    links
}

fn pairs(one: &[String], other: &[String]) -> Vec<(String, String)> {
    let pair = |a: &String, b: &String| [(a.clone(), b.clone()), (b.clone(), a.clone())];
    one.iter().flat_map(|a| other.iter().flat_map(move |b| pair(a, b))).collect()
}

fn rest(nodes: &[String], one: usize) -> Vec<String> {
    nodes.iter().enumerate().filter(|(at, _)| *at != one).map(|(_, node)| node.clone()).collect()
}

/// As far as the others can see a process that does not run: nothing comes from it, what is sent to it waits, and its disk
/// stands still. Its timers go on, which a real pause would not let them; `quorate prove` pauses real processes.
fn pause(world: &mut World<'_>, at: usize, lasting: Duration) -> Option<String> {
    let host = world.cluster.node(at).host.clone();
    let everybody = world.everybody();
    world.links.hold(&world.sim, &host, &everybody);
    world.cluster.node(at).disk.stall(true);
    world.undo_after(lasting, Undo::Release(host.clone()));
    world.undo_after(lasting, Undo::Unstall(at));
    Some(format!("{host} for {lasting:?}"))
}

pub(super) fn unblock(world: &mut World<'_>, links: &[(String, String)]) {
    trace::line(format_args!("heals {links:?}"));
    world.links.unblock(&world.sim, links);
}

pub(super) fn release(world: &mut World<'_>, host: &str) {
    trace::line(format_args!("{host} goes on"));
    let everybody = world.everybody();
    world.links.release(&world.sim, host, &everybody);
}

pub(super) fn set_loss(world: &mut World<'_>, rate: f64) {
    world.sim.set_fail_rate(rate);
}

pub(super) fn end_delay(world: &mut World<'_>) {
    world.sim.set_max_message_latency(world.plan.latency_max);
}
