//! The rare points ([`quorate_types::probe::sometimes`]) that a run of many seeds must reach.

use std::collections::BTreeMap;

/// All of them.
pub const POINTS: &[&str] = &[
    "asked for a pre-vote",
    "asked for the next term",
    "attached consumer taken over",
    "commit refused for a stale lease",
    "cut-off node closed its consumers",
    "dead letter stored",
    "entry carried",
    "former session of a producer refused",
    "gap refused",
    "handed over for a wrong clock",
    "leader handed over to where its shard prefers it",
    "install finished by a restart",
    "last attempt failed",
    "late subscription looked after",
    "leader stepped down without a successor",
    "learner promoted",
    "lease extended",
    "lease timed out",
    "log cut after a conflict",
    "log written anew",
    "mandatory publish refused",
    "message delayed",
    "message expired",
    "message scheduled",
    "message passed on to another topic",
    "messages selected by their headers",
    "node expired",
    "operation forgotten with its caller",
    "operation unknown with its session",
    "operations sent again by a gateway",
    "overtaken message taken back",
    "producer fenced",
    "producer opened by the same one again",
    "publish refused for a full disk",
    "publish to several topics",
    "publish unknown with its session",
    "quarantine",
    "replayed answer served",
    "replication that leads nowhere ended",
    "rows rebuilt",
    "rows stood in for a snapshot",
    "scheduled message cancelled",
    "segment retired",
    "session not found",
    "settled and published in one commit",
    "snapshot built",
    "snapshot installed",
    "sought with messages unsettled",
    "stale lease refused",
    "stood in the place of a leader that ended",
    "torn tail cut",
    "unsent grant returned",
];

/// The points that were never reached.
#[must_use]
pub fn missing(reached: &BTreeMap<String, u64>) -> Vec<&'static str> {
    POINTS.iter().filter(|point| reached.get(**point).is_none_or(|count| *count == 0)).copied().collect()
}
