//! What is done to the nodes, drawn from a seed: the same seed plans the same faults.

use super::payload::Noise;
use std::fmt;
use std::time::Duration;

/// One fault. Nodes are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and a new start after a while.
    Kill {
        /// Which node.
        node: usize,
        /// How long it is down.
        down: Duration,
    },
    /// SIGSTOP, and SIGCONT after a while.
    Pause {
        /// Which node.
        node: usize,
        /// How long it stands still.
        lasting: Duration,
    },
    /// `kill -9` for all at once: a power cut, as far as processes can have one.
    KillAll {
        /// How long all are down.
        down: Duration,
    },
}

/// A fault and the quiet before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Counted from when the cluster is whole again, or as whole as it was waited for.
    pub(crate) quiet: Duration,
    /// What then.
    pub(crate) fault: Fault,
}

/// An endless plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    noise: Noise,
    nodes: usize,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self { noise: Noise::new(seed), nodes: nodes.max(1) }
    }

    fn ms(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.noise.between(low, high))
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let quiet = self.ms(50, 400);
        let node = usize::try_from(self.noise.below(self.nodes as u64)).unwrap_or(0);
        let fault = match self.noise.below(100) {
            // A short outage is over before an election; a long one is not, and its node has much to catch up.
            0..74 => Fault::Kill { node, down: self.ms(0, 500) },
            74..80 => Fault::Kill { node, down: self.ms(1_500, 3_000) },
            80..92 => Fault::Pause { node, lasting: self.ms(300, 1_500) },
            // Longer than an election timeout: the node wakes up deposed.
            92..96 => Fault::Pause { node, lasting: self.ms(3_500, 5_000) },
            _ => Fault::KillAll { down: self.ms(0, 1_000) },
        };
        Some(Step { quiet, fault })
    }
}

impl Fault {
    /// The same done to another node.
    pub(crate) fn aimed_at(self, node: usize) -> Self {
        match self {
            Self::Kill { down, .. } => Self::Kill { node, down },
            Self::Pause { lasting, .. } => Self::Pause { node, lasting },
            Self::KillAll { .. } => self,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node, down } => write!(f, "kill node {}, down for {down:?}", node + 1),
            Self::Pause { node, lasting } => write!(f, "pause node {} for {lasting:?}", node + 1),
            Self::KillAll { down } => write!(f, "kill all nodes, down for {down:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_decides_the_plan() {
        let steps = |seed| Plan::new(seed, 3).take(50).collect::<Vec<_>>();
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn plan_has_every_kind_of_fault_for_every_node_and_mostly_kills() {
        let steps: Vec<Step> = Plan::new(1, 3).take(500).collect();
        for node in 0..3 {
            assert!(steps.iter().any(|s| matches!(s.fault, Fault::Kill { node: n, .. } if n == node)));
            assert!(steps.iter().any(|s| matches!(s.fault, Fault::Pause { node: n, .. } if n == node)));
        }
        let kills = steps.iter().filter(|s| matches!(s.fault, Fault::Kill { .. })).count();
        let all = steps.iter().filter(|s| matches!(s.fault, Fault::KillAll { .. })).count();
        assert!(kills > 350 && all > 5 && all < 50, "{kills} kills, {all} of all nodes");
    }
}
