//! Seeds that found a bug. A change of the code or of the plan makes another story of them; they are kept because each was
//! a story that nobody had thought of.

use crate::{all_well, turn};

/// Seed, and what it found.
const SEEDS: &[(u64, &str)] = &[
    (4, "a node with a damaged identity file did not start"),
    (
        15,
        "damage of the log that was found while reading did not make the next start set the directory aside",
    ),
    (3, "after a failed sync, a restarted node trusted bytes that were in the page cache only"),
    (55, "replication to a follower stopped for ever when the log was purged under its stream"),
    (213, "a change of voters that a leader left half-done was ended by nobody"),
    (30, "a node was ready while its former life still counted in the majority"),
    (834, "a message was said not to be sent, and was sent later"),
    (116, "what may have been stored in a lost session was sent again in the next one"),
    (463, "a node whose newest snapshot file was damaged did not start on a purged log"),
    (75, "a set-aside that was cut short gave an old log to a new incarnation"),
    (
        560,
        "a leader whose successor had died led nobody and stood in the way; leaders with clocks that all differ took turns",
    ),
    (998, "a node was ready while voters were changing, and a change left half-done was not seen"),
    (1795, "a node was ready while a change of voters was in its log and not applied yet"),
    (
        8542,
        "a leader that stepped down voted for the successor that had not come, whatever its log: it led without what was confirmed",
    ),
    (321, "a purge that a cut-off node had taken was done late, after the client had repeated it elsewhere"),
    (430, "the same, by another way"),
    (6444, "a process that died of a failed sync before it could say so left a log that was trusted"),
    (
        3247,
        "replication to a follower stopped for ever: a stream that had ended took what was meant for the next one",
    ),
    (1571, "a snapshot's install cut the log that held one of its blocks, and the node stopped"),
    (
        7727,
        "a node whose clock had jumped before it was elected led by that clock, and leases ended hours early",
    ),
    (298, "a follower said that less was committed than it had applied"),
    (
        91,
        "time stood still in a group whose former leader's clock had been ahead: nothing that was delayed came back",
    ),
    (
        280,
        "an opening of a producer that was answered was done once more after others, and took the producer back",
    ),
    (
        2302,
        "a consumer that had lost its node handed out what had come before, when others had got what follows it",
    ),
    (
        2737,
        "a node ended: a snapshot that was installed slowly took blocks with it that had come for the next one",
    ),
];

#[test]
fn seeds_that_found_a_bug_find_it_no_more() {
    let _turn = turn();
    let reports = all_well(SEEDS.iter().map(|(seed, _)| *seed));
    assert_eq!(reports.len(), SEEDS.len());
}
