//! One run of one seed: form, disturb, heal, drain, check.

use crate::determinism;
use crate::faults::{self, Kind};
use crate::oracle::{Violation, settled};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::trace;
use crate::workload::Phase;
use crate::world::World;
use quorate_types::probe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A cluster forms in this time, or never.
const FORM_WITHIN: Duration = Duration::from_secs(30);
/// After everything is healed the cluster has so long until it confirms and delivers again, and as long to drain.
const RECOVER_WITHIN: Duration = Duration::from_secs(60);
/// Once healed, publishing goes on for so long: what is confirmed then must get through like the rest.
const PUBLISH_ON: Duration = Duration::from_secs(1);
/// When it is looked whether all has settled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a run went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// The hash over everything that happened.
    pub trace: u64,
    /// The newest lines of the trace.
    pub last: Vec<String>,
    /// How much simulated time passed.
    pub simulated: Duration,
    /// Confirmed messages.
    pub confirmed: usize,
    /// Faults that were begun.
    pub faults: u64,
    /// How often each rare point was reached.
    pub points: BTreeMap<String, u64>,
    /// How often the planted bug was committed.
    pub bug_committed: u64,
}

impl Report {
    /// Of a run that came to no end of its own.
    pub(crate) fn failed(seed: u64, what: &str) -> Self {
        Self {
            seed,
            violation: Some(Violation::new("panic", what)),
            trace: 0,
            last: Vec::new(),
            simulated: Duration::ZERO,
            confirmed: 0,
            faults: 0,
            points: BTreeMap::new(),
            bug_committed: 0,
        }
    }

    /// What a person needs to know of a failure: what, when, and how to see it again.
    #[must_use]
    pub fn explain(&self, bug: Option<&str>) -> String {
        let Some(violation) = &self.violation else { return format!("seed {}: nothing is wrong", self.seed) };
        let bug = bug.map(|bug| format!(" --bug {bug:?}")).unwrap_or_default();
        let last: String = self.last.iter().map(|line| format!("    {line}\n")).collect();
        format!(
            "seed {} broke {violation}\n  the last events:\n{last}  replay it: cargo run -p quorate-tests --bin sim -- --seed {}{bug}",
            self.seed, self.seed
        )
    }
}

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// What happens.
    pub plan: Plan,
    /// A planted bug, by name.
    pub bug: Option<&'static str>,
    /// Print every line of the trace.
    pub print: bool,
}

/// Runs a seed, on a thread of its own.
#[must_use]
pub fn run(request: Request) -> Report {
    let seed = request.plan.seed;
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).stack_size(8 << 20);
    match thread.spawn(move || simulate(request)) {
        Ok(running) => running.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Report::failed(seed, text.unwrap_or("the simulation panicked"))
        }),
        Err(error) => Report::failed(seed, &format!("no thread could be started: {error}")),
    }
}

fn simulate(request: Request) -> Report {
    let Request { plan, bug, print } = request;
    let seed = plan.seed;
    determinism::begin(seed);
    quorate_consensus::seed_thread(Rng::of(seed, "raft").next());
    trace::begin(print);
    probe::begin(bug);
    let mut world = World::new(plan);
    go(&mut world);
    let mut oracle = world.shared.oracle.borrow_mut();
    let confirmed = oracle.history.confirmed();
    let violation = oracle.take_violation();
    drop(oracle);
    let (simulated, faults) = (world.now(), world.faults);
    let points = probe::points().into_iter().map(|(point, count)| (point.to_owned(), count)).collect();
    let bug_committed = probe::committed();
    drop(world);
    let (trace, last) = trace::end();
    Report { seed, violation, trace, last, simulated, confirmed, faults, points, bug_committed }
}

fn go(world: &mut World<'_>) {
    if world.plan.calm_start && !within(world, FORM_WITHIN, "the cluster does not form", formed) {
        return;
    }
    if !disturb(world) {
        return;
    }
    trace::line(format_args!("all faults end"));
    faults::heal(world);
    world.shared.enter(Phase::Recovering);
    if !pass(world, PUBLISH_ON) {
        return;
    }
    world.shared.enter(Phase::Draining);
    if !within(world, RECOVER_WITHIN, "the cluster does not settle", quiet) {
        return;
    }
    trace::line(format_args!("all has settled"));
    settled::check(&world.cluster, &mut world.shared.oracle.borrow_mut());
}

/// Lets the plan's faults happen for its time. `false` when the run is over.
fn disturb(world: &mut World<'_>) -> bool {
    let mut rng = Rng::of(world.plan.seed, "faults");
    let kinds: Vec<(Kind, Duration)> = world.plan.faults.iter().map(|(k, d)| (*k, *d)).collect();
    let mut due: Vec<(Duration, Kind, Duration)> =
        kinds.into_iter().map(|(kind, every)| (world.now() + soon(&mut rng, every), kind, every)).collect();
    let end = world.now() + world.plan.chaos;
    while world.now() < end {
        if !world.step() {
            return false;
        }
        for (at, kind, every) in &mut due {
            if world.now() >= *at {
                *at = world.now() + soon(&mut rng, *every);
                faults::begin(world, *kind, &mut rng);
            }
        }
    }
    true
}

fn soon(rng: &mut Rng, every: Duration) -> Duration {
    let ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    rng.ms(1, 2 * ms)
}

fn pass(world: &mut World<'_>, time: Duration) -> bool {
    let end = world.now() + time;
    while world.now() < end {
        if !world.step() {
            return false;
        }
    }
    true
}

/// Goes on until `done` says nothing any more; a violation of liveness when that takes too long.
fn within(
    world: &mut World<'_>,
    limit: Duration,
    what: &str,
    done: impl Fn(&World<'_>) -> Option<String>,
) -> bool {
    let deadline = world.now() + limit;
    loop {
        if !pass(world, LOOK_EVERY) {
            return false;
        }
        let Some(why) = done(world) else { return true };
        if world.now() >= deadline {
            describe(world);
            let violation = Violation::new("liveness", format!("{what} within {limit:?}: {why}"));
            world.shared.oracle.borrow_mut().found(violation);
            return false;
        }
    }
}

/// How every replica is, for whoever wants to know what does not go on.
fn describe(world: &World<'_>) {
    for node in &world.cluster.nodes {
        for group in node.groups() {
            let status = group.status();
            trace::line(format_args!(
                "{} group {}: {:?} of term {} (leader {:?}), last {:?}, committed {:?}, applied {:?}, voters {:?}, learners {:?}",
                node.host,
                status.group,
                status.role,
                status.leadership.term,
                status.leadership.leader.map(|leader| leader.node),
                status.last,
                status.committed,
                status.applied,
                status.members.voters,
                status.members.learners,
            ));
        }
    }
}

fn formed(world: &World<'_>) -> Option<String> {
    let nodes = world.cluster.nodes.iter();
    let waiting = nodes.filter_map(|node| node.unready().map(|why| format!("{}: {why}", node.host))).next();
    let subscribed = world.shared.subscriptions.borrow().len() as u64 >= world.plan.load.subscriptions;
    waiting.or_else(|| (!subscribed).then(|| "the subscriptions are not there yet".to_owned()))
}

fn quiet(world: &World<'_>) -> Option<String> {
    settled::unsettled(&world.cluster, &world.shared.oracle.borrow())
}
