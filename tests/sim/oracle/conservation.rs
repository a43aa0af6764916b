//! What was routed to a subscription is in exactly one place, and the counters say so, on every node alike.

use super::Violation;
use super::history::Subscription;
use quorate_consensus::Group;
use quorate_machine::{Ledger, Machine};

const NAME: &str = "conservation";

/// Those of the machine's rules that are quickly checked, on one replica while the run goes on.
pub(super) fn in_passing(node: &str, group: &Group) -> Result<(), Violation> {
    of_machine(node, group, Machine::violations)
}

/// The machine's own rules, on one replica.
pub(super) fn replica(node: &str, group: &Group) -> Result<(), Violation> {
    of_machine(node, group, Machine::check)
}

fn of_machine(
    node: &str,
    group: &Group,
    rules: impl Fn(&Machine) -> Vec<quorate_machine::Violation>,
) -> Result<(), Violation> {
    let found = group.read(|machine| rules(machine));
    match found.first() {
        None => Ok(()),
        Some(violation) => Err(Violation::new(NAME, format!("{node}: group {}: {violation}", group.id()))),
    }
}

/// A subscription that was drained, as a node describes it.
pub(super) fn drained(node: &str, subscription: &Subscription, ledger: &Ledger) -> Result<(), Violation> {
    let name = &subscription.name;
    let ended = ledger.acked + ledger.dropped + ledger.purged + ledger.expired + ledger.dead_lettered;
    if ended != ledger.routed {
        return Err(Violation::new(NAME, format!("{node}: {name} is drained, but its ledger is {ledger:?}")));
    }
    let seen = subscription.places.len() as u64;
    // An attempt counts when its message may have been sent.
    let given_up = if subscription.gives_up { ledger.dead_lettered } else { 0 };
    let gave_way = if subscription.gives_way { ledger.dropped + ledger.dead_lettered } else { 0 };
    let given_up = given_up.max(gave_way);
    let all = !subscription.purged && !subscription.gives_up && !subscription.gives_way;
    if seen + ledger.purged + given_up < ledger.routed || (all && seen != ledger.routed) {
        let what = format!("{node}: {name} delivered {seen} messages, but its ledger is {ledger:?}");
        return Err(Violation::new(NAME, what));
    }
    // A settle that was answered is counted; one whose answer was lost may be.
    let settled = subscription.ended.len() as u64;
    if settled > ledger.acked + ledger.dropped + ledger.dead_lettered {
        let what = format!("{node}: {settled} settles of {name} were answered, but its ledger is {ledger:?}");
        return Err(Violation::new(NAME, what));
    }
    Ok(())
}

/// A subscription whose consumers ack only with a result, in one commit: there are as many results as acks.
pub(super) fn committed(
    node: &str,
    subscription: &Subscription,
    ledger: &Ledger,
    results: Option<u64>,
) -> Result<(), Violation> {
    if results == Some(ledger.acked) {
        return Ok(());
    }
    let what =
        format!("{node}: {} acked {} messages, of which {results:?} came", subscription.name, ledger.acked);
    Err(Violation::new("exactly_once", what))
}
