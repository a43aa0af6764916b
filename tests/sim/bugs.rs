//! The planted bugs: mistakes that the code can be told to make ([`quorate_types::probe::planted`]), each of which the
//! oracle must notice.
//!
//! To add one: `probe::planted("…")` where the mistake is made, and its name here.

/// All of them.
pub const BUGS: &[&str] = &[
    // The log and its disk.
    "skip the fsync",
    "acknowledge before the fsync",
    "go on after a failed fsync",
    "ignore checksums",
    "retire a segment that is needed",
    "write rows ahead of the log",
    // Consensus.
    "forget the vote",
    "vote with an empty disk",
    "confirm before commit",
    "purge one too many",
    "apply twice",
    "a snapshot leaves out a row",
    "read without asking a majority",
    // The machine.
    "ignore the attempt of a settle",
    "a nack is an ack",
    "an attempt is not counted",
    "a commit with a stale lease publishes all the same",
    "leases of a detached consumer are dropped",
    "a dead letter is lost",
    "a seek leaves leases",
    "nobody is taken over",
    "two consumers are active",
    "two consumers share a key",
    "what expired is delivered",
    "a full backlog keeps what is oldest",
    "a full backlog takes publishes",
    "one publish in fifty is not routed",
    "what comes on two ways is stored twice",
    "a snapshot forgets the numbers of sessions",
    "a fenced producer is let in",
    "a message id is not known again",
    // Nodes and clients.
    "a late subscription misses a message",
    "a message is not looked at for its headers",
    "compaction copies another message",
    "compaction lets go of what is the newest",
    "gathering mixes up messages",
    "a reply goes to another inbox",
    "expire nodes too early",
    "send again under a new number",
    "a key goes to the shard whose turn it is",
];

/// The bug of this name.
#[must_use]
pub fn bug(name: &str) -> Option<&'static str> {
    BUGS.iter().find(|bug| **bug == name).copied()
}
