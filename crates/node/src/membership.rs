//! Which change of membership a group needs next, as a pure function (DESIGN §2.10, §6.1).
//!
//! Group 0 says which incarnation of each node counts. Where a group's voters name another one, the new
//! incarnation is added as a learner, and takes the old one's vote when it has caught up: one step at a time,
//! so that the group never has fewer live voters than it must.

use quorate_machine::NodeRecord;
use quorate_types::Voter;
use std::collections::BTreeSet;

/// A change for the group's leader to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Replicate to this node, which does not vote.
    AddLearner(NodeRecord),
    /// Make these, and only these, the voters.
    SetVoters(BTreeSet<Voter>),
    /// Stop replicating to a learner that nobody waits for: a disk that was lost before it was promoted.
    RemoveLearner(Voter),
}

/// The next change that brings the group to one up-to-date replica on each node of `desired`.
///
/// `changing`: a change of the voters has begun and not ended. `caught_up` says of a learner whether it has what the leader has, near enough.
#[must_use]
pub(crate) fn next_change(
    voters: &BTreeSet<Voter>,
    learners: &BTreeSet<Voter>,
    changing: bool,
    desired: &[NodeRecord],
    caught_up: impl Fn(Voter) -> bool,
) -> Option<Change> {
    let member = |r: &NodeRecord| Voter { node: r.node, incarnation: r.incarnation };
    for record in desired {
        let voter = member(record);
        if voters.contains(&voter) {
            continue;
        }
        if !learners.contains(&voter) {
            return Some(Change::AddLearner(record.clone()));
        }
        if caught_up(voter) {
            let others = voters.iter().filter(|v| v.node != voter.node).copied();
            return Some(Change::SetVoters(others.chain([voter]).collect()));
        }
    }
    let wanted = |v: &Voter| desired.iter().any(|r| member(r) == *v);
    // A leader that began a change may be gone before it ended it: until somebody does, a majority of the old voters is still
    // needed, of which one may be dead.
    let in_place = |r: &NodeRecord| voters.contains(&member(r));
    let replaced = |v: &Voter| !wanted(v) && desired.iter().any(|r| r.node == v.node && in_place(r));
    if changing || voters.iter().any(replaced) {
        return Some(Change::SetVoters(voters.iter().filter(|v| !replaced(v)).copied().collect()));
    }
    learners.iter().find(|l| !wanted(l)).map(|l| Change::RemoveLearner(*l))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Incarnation, NodeId};

    fn voter(node: u64, incarnation: u64) -> Voter {
        Voter { node: NodeId::new(node), incarnation: Incarnation::new(incarnation) }
    }

    fn record(node: u64, incarnation: u64) -> NodeRecord {
        NodeRecord {
            node: NodeId::new(node),
            incarnation: Incarnation::new(incarnation),
            peer_address: String::new(),
            client_address: String::new(),
        }
    }

    fn set(voters: &[Voter]) -> BTreeSet<Voter> {
        voters.iter().copied().collect()
    }

    #[test]
    fn a_group_with_the_right_voters_is_left_alone() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = [record(1, 1), record(2, 1), record(3, 1)];
        assert_eq!(next_change(&voters, &set(&[]), false, &desired, |_| true), None);
    }

    #[test]
    fn a_wiped_node_becomes_a_learner_then_takes_over_its_old_vote() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = [record(1, 1), record(2, 1), record(3, 9)];
        assert_eq!(
            next_change(&voters, &set(&[]), false, &desired, |_| true),
            Some(Change::AddLearner(record(3, 9)))
        );
        let learners = set(&[voter(3, 9)]);
        assert_eq!(next_change(&voters, &learners, false, &desired, |_| false), None);
        assert_eq!(
            next_change(&voters, &learners, false, &desired, |_| true),
            Some(Change::SetVoters(set(&[voter(1, 1), voter(2, 1), voter(3, 9)])))
        );
    }

    #[test]
    fn a_replacement_that_was_begun_by_a_former_leader_is_ended() {
        let joint = set(&[voter(1, 1), voter(2, 1), voter(2, 7), voter(3, 1)]);
        let desired = [record(1, 1), record(2, 7), record(3, 1)];
        assert_eq!(
            next_change(&joint, &set(&[]), false, &desired, |_| true),
            Some(Change::SetVoters(set(&[voter(1, 1), voter(2, 7), voter(3, 1)])))
        );
    }

    #[test]
    fn a_change_that_was_begun_by_a_former_leader_is_ended() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = [record(1, 1), record(2, 1), record(3, 1)];
        let ended = next_change(&voters, &set(&[]), true, &desired, |_| true);
        assert_eq!(ended, Some(Change::SetVoters(voters)));
    }

    #[test]
    fn a_former_life_keeps_its_vote_until_the_new_one_has_caught_up() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = [record(1, 1), record(2, 7), record(3, 1)];
        assert_eq!(next_change(&voters, &set(&[voter(2, 7)]), false, &desired, |_| false), None);
    }

    #[test]
    fn a_learner_whose_disk_was_lost_again_is_dropped() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 10)]);
        let desired = [record(1, 1), record(2, 1), record(3, 10)];
        assert_eq!(
            next_change(&voters, &set(&[voter(3, 9)]), false, &desired, |_| true),
            Some(Change::RemoveLearner(voter(3, 9)))
        );
    }
}
