//! Which change of membership a group needs next, as a pure function (DESIGN §2.10, §6.1).
//!
//! Group 0 says on which nodes a group's voters should be, and which incarnation of each node counts. Where they are others, the
//! new ones are added as learners, and vote when they have caught up: one step at a time, so that the group never has fewer live
//! voters than it must.

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

/// Who should belong to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Who votes.
    pub(crate) voters: Vec<NodeRecord>,
    /// Who only listens.
    pub(crate) learners: Vec<NodeRecord>,
}

/// The next change that brings the group to one up-to-date replica on each node that is wanted.
///
/// Votes move when all new voters have caught up, in one change: in between there are never fewer than before, nor an even
/// number for long. Only a node that has lost its disk takes the vote of its former life by itself: that one is gone.
///
/// `changing`: a change of the voters has begun and not ended. `caught_up` says of a learner whether it has what the leader has, near enough.
#[must_use]
pub(crate) fn next_change(
    voters: &BTreeSet<Voter>,
    learners: &BTreeSet<Voter>,
    changing: bool,
    wanted: &Wanted,
    caught_up: impl Fn(Voter) -> bool,
) -> Option<Change> {
    let is_known = |r: &&NodeRecord| voters.contains(&r.voter()) || learners.contains(&r.voter());
    if let Some(missing) = wanted.voters.iter().find(|r| !is_known(r)) {
        return Some(Change::AddLearner(missing.clone()));
    }
    let target: BTreeSet<Voter> = wanted.voters.iter().map(NodeRecord::voter).collect();
    let ready = |v: &Voter| voters.contains(v) || (learners.contains(v) && caught_up(*v));
    if !target.is_empty() && target.iter().all(ready) && (changing || target != *voters) {
        return Some(Change::SetVoters(target));
    }
    let reborn = |v: &&Voter| !voters.contains(*v) && voters.iter().any(|old| old.node == v.node) && ready(v);
    if let Some(voter) = target.iter().find(reborn) {
        let others = voters.iter().filter(|v| v.node != voter.node).copied();
        return Some(Change::SetVoters(others.chain([*voter]).collect()));
    }
    // A leader that began a change may be gone before it ended it: until somebody does, a majority of the old voters is still
    // needed, of which one may be dead.
    let replaced =
        |v: &Voter| !target.contains(v) && target.iter().any(|t| t.node == v.node && voters.contains(t));
    if changing || voters.iter().any(replaced) {
        return Some(Change::SetVoters(voters.iter().filter(|v| !replaced(v)).copied().collect()));
    }
    let listens = |l: &Voter| target.contains(l) || wanted.learners.iter().any(|r| r.voter() == *l);
    if let Some(extra) = learners.iter().find(|l| !listens(l)) {
        return Some(Change::RemoveLearner(*extra));
    }
    wanted.learners.iter().find(|r| !is_known(r)).map(|missing| Change::AddLearner(missing.clone()))
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

    fn wanted(voters: &[NodeRecord]) -> Wanted {
        Wanted { voters: voters.to_vec(), learners: Vec::new() }
    }

    fn set(voters: &[Voter]) -> BTreeSet<Voter> {
        voters.iter().copied().collect()
    }

    #[test]
    fn a_group_with_the_right_voters_is_left_alone() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = wanted(&[record(1, 1), record(2, 1), record(3, 1)]);
        assert_eq!(next_change(&voters, &set(&[]), false, &desired, |_| true), None);
    }

    #[test]
    fn a_wiped_node_becomes_a_learner_then_takes_over_its_old_vote() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = wanted(&[record(1, 1), record(2, 1), record(3, 9)]);
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
        let desired = wanted(&[record(1, 1), record(2, 7), record(3, 1)]);
        assert_eq!(
            next_change(&joint, &set(&[]), false, &desired, |_| true),
            Some(Change::SetVoters(set(&[voter(1, 1), voter(2, 7), voter(3, 1)])))
        );
    }

    #[test]
    fn a_change_that_was_begun_by_a_former_leader_is_ended() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = wanted(&[record(1, 1), record(2, 1), record(3, 1)]);
        let ended = next_change(&voters, &set(&[]), true, &desired, |_| true);
        assert_eq!(ended, Some(Change::SetVoters(voters)));
    }

    #[test]
    fn a_former_life_keeps_its_vote_until_the_new_one_has_caught_up() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = wanted(&[record(1, 1), record(2, 7), record(3, 1)]);
        assert_eq!(next_change(&voters, &set(&[voter(2, 7)]), false, &desired, |_| false), None);
    }

    #[test]
    fn a_learner_whose_disk_was_lost_again_is_dropped() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 10)]);
        let desired = wanted(&[record(1, 1), record(2, 1), record(3, 10)]);
        assert_eq!(
            next_change(&voters, &set(&[voter(3, 9)]), false, &desired, |_| true),
            Some(Change::RemoveLearner(voter(3, 9)))
        );
    }

    #[test]
    fn a_vote_moves_to_another_node_in_one_change_and_only_when_that_has_caught_up() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = wanted(&[record(1, 1), record(2, 1), record(4, 1)]);
        assert_eq!(
            next_change(&voters, &set(&[]), false, &desired, |_| true),
            Some(Change::AddLearner(record(4, 1)))
        );
        let learners = set(&[voter(4, 1)]);
        assert_eq!(next_change(&voters, &learners, false, &desired, |_| false), None);
        let after = set(&[voter(1, 1), voter(2, 1), voter(4, 1)]);
        let change = Some(Change::SetVoters(after.clone()));
        assert_eq!(next_change(&voters, &learners, false, &desired, |_| true), change);
        let joint = set(&[voter(1, 1), voter(2, 1), voter(3, 1), voter(4, 1)]);
        assert_eq!(next_change(&joint, &set(&[]), true, &desired, |_| true), change);
        assert_eq!(next_change(&after, &set(&[]), false, &desired, |_| true), None);
    }

    #[test]
    fn one_voter_becomes_three_at_once() {
        let (voters, desired) = (set(&[voter(1, 1)]), wanted(&[record(1, 1), record(2, 1), record(3, 1)]));
        let learners = set(&[voter(2, 1), voter(3, 1)]);
        assert_eq!(next_change(&voters, &learners, false, &desired, |v| v == voter(2, 1)), None);
        let three = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        assert_eq!(
            next_change(&voters, &learners, false, &desired, |_| true),
            Some(Change::SetVoters(three))
        );
    }

    #[test]
    fn who_is_to_listen_listens_and_is_let_go_when_it_is_not_known_any_more() {
        let voters = set(&[voter(1, 1), voter(2, 1), voter(3, 1)]);
        let desired = Wanted {
            voters: vec![record(1, 1), record(2, 1), record(3, 1)],
            learners: vec![record(4, 4), record(5, 5)],
        };
        let next = |learners: &[Voter]| next_change(&voters, &set(learners), false, &desired, |_| false);
        assert_eq!(next(&[voter(4, 4)]), Some(Change::AddLearner(record(5, 5))));
        assert_eq!(next(&[voter(4, 4), voter(5, 5)]), None);
        assert_eq!(next(&[voter(4, 4), voter(5, 5), voter(6, 6)]), Some(Change::RemoveLearner(voter(6, 6))));
    }
}
