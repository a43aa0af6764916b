//! A step of a subscription that catches up with a topic, as the leader has found it in the blocks.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::op::Match;
use crate::shard::{Context, Shard};
use quorate_types::{Reason, Refusal, SubscriptionId, TopicId};

impl Shard {
    /// What the entry's budget does not reach is left to another step: the cursor says how far this one came.
    pub(crate) fn route(
        &mut self,
        (topic, subscription): (TopicId, SubscriptionId),
        version: u64,
        (from, to): (u64, u64),
        matches: &[Match],
        ctx: &mut Context<'_>,
    ) -> Reply {
        let scan = self.scan_of(topic, subscription).ok_or_else(|| {
            let text = format!("subscription {subscription} does not catch up with topic {topic}");
            Refusal::new(Reason::BindingNotFound, text)
        })?;
        if (scan.version, scan.from) != (version, from) {
            let text = format!(
                "subscription {subscription} is at offset {} of topic {topic} with bindings {}, not at {from} with {version}: look again",
                scan.from, scan.version
            );
            return Err(Refusal::new(Reason::OffsetOutOfRange, text));
        }
        if to <= from || to > scan.to || !lie_within(matches, (from, to)) {
            return Err(invalid(format!(
                "the matches do not lie in {from} to {to}, or these not before {}",
                scan.to
            )));
        }
        let mut reached = to;
        for Match { offset, count, options } in matches {
            let end = offset + count;
            let routed = self.route_kept((topic, subscription), (*offset, end), Some(options), ctx);
            if routed < end {
                reached = routed;
                break;
            }
        }
        self.move_cursor((topic, subscription), reached, ctx);
        self.go_on_catching_up((topic, subscription), ctx);
        Ok(Answer::Done)
    }
}

/// Whether the matches are in order, do not overlap, and lie in the range.
fn lie_within(matches: &[Match], (from, to): (u64, u64)) -> bool {
    let mut at = from;
    for Match { offset, count, .. } in matches {
        match offset.checked_add(*count) {
            Some(end) if *offset >= at && *count > 0 && end <= to => at = end,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::MessageOptions;

    fn found((offset, count): (u64, u64)) -> Match {
        Match { offset, count, options: MessageOptions::default() }
    }

    #[test]
    fn matches_lie_in_order_within_what_was_looked_through() {
        let of = |ranges: &[(u64, u64)]| {
            let matches: Vec<Match> =
                ranges.iter().map(|(offset, count)| (*offset, *count)).map(found).collect();
            lie_within(&matches, (10, 20))
        };
        assert!(of(&[]) && of(&[(10, 10)]) && of(&[(10, 1), (11, 3), (19, 1)]));
        assert!(!of(&[(9, 1)]) && !of(&[(10, 11)]) && !of(&[(10, 0)]));
        assert!(!of(&[(12, 3), (14, 1)]) && !of(&[(12, 1), (11, 1)]) && !of(&[(u64::MAX, 2)]));
    }
}
