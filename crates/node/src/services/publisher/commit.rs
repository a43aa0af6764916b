//! From a request that is a commit to an operation.

use super::prepare::{Checks, Gathered, PerTopic, Prepared, gather};
use crate::services::consumer;
use quorate_machine::{Commit, CommitSettle, Op, Publishes};
use quorate_types::{Reason, Refusal};
use quorate_wire as wire;
use quorate_wire::v1;

/// Checks a commit. What is wrong with any part of it refuses the whole.
///
/// # Errors
/// The refusal names what is wrong, the limit and what to do.
pub(super) fn prepare(
    request: &v1::PublishRequest,
    commit: &v1::Commit,
    checks: &Checks<'_>,
) -> Result<Prepared, Refusal> {
    let settles = settles(commit)?;
    let gathered = if publishes(request) {
        gather(request, checks, |_, refusal| Err(refusal))?
    } else if settles.is_empty() {
        let text = "the commit is empty: settle or publish something with it";
        return Err(Refusal::new(Reason::InvalidArgument, text));
    } else {
        Gathered::default()
    };
    let Gathered { publishes, fragments, bytes } = gathered;
    let op = Op::Commit(Box::new(Commit { settles, publishes: Publishes::new(&publishes) }));
    Ok(Prepared { op, fragment: fragments, per_topic: PerTopic { bytes, refused: Vec::new() } })
}

/// Whether a request has messages, or names a topic for some.
pub(super) fn publishes(request: &v1::PublishRequest) -> bool {
    !request.topic.is_empty() || !request.messages.is_empty() || !request.more.is_empty()
}

/// Settlements of a request, for its share of a connection's room.
pub(super) fn settlements(request: &v1::PublishRequest) -> usize {
    request.commit.as_ref().map_or(0, count)
}

fn count(commit: &v1::Commit) -> usize {
    commit.settles.iter().map(|settle| settle.settlements.len()).sum()
}

fn settles(commit: &v1::Commit) -> Result<Vec<CommitSettle>, Refusal> {
    consumer::check_count(count(commit))?;
    let settle = |settle: &v1::CommitSettle| {
        Ok(CommitSettle {
            subscription: wire::subscription(&settle.subscription)?,
            token: consumer::token(&settle.identity)?,
            settlements: consumer::settlements(&settle.settlements)?,
        })
    };
    commit.settles.iter().map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::gateway::GatewayLimits;
    use bytes::Bytes;
    use prost::Message as _;
    use quorate_machine::{Settlement, Verdict};
    use quorate_types::{Rope, ShardPlace};

    fn settle(subscription: &str, identity: usize, positions: &[u64]) -> v1::CommitSettle {
        let ack = v1::Verdict::Ack.into();
        let settlement =
            |p: &u64| v1::Settlement { first: *p, last: *p, attempt: 1, verdict: ack, delay_ms: None };
        v1::CommitSettle {
            subscription: subscription.into(),
            identity: vec![7; identity].into(),
            settlements: positions.iter().map(settlement).collect(),
        }
    }

    fn prepared(
        settles: Vec<v1::CommitSettle>,
        publishes: &[(&str, usize)],
    ) -> Result<(Commit, Rope), Refusal> {
        let message = |bytes: usize| {
            let payload = vec![7; bytes].into();
            Bytes::from(v1::Message { payload, ..Default::default() }.encode_to_vec())
        };
        let mut topics = publishes.iter().map(|(topic, bytes)| v1::TopicMessages {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            messages: vec![message(*bytes)],
            mandatory: false,
        });
        let first = topics.next().unwrap_or_default();
        let request = v1::PublishRequest {
            topic: String::from_utf8(first.topic.to_vec()).unwrap(),
            messages: first.messages,
            more: topics.collect(),
            commit: Some(v1::Commit { settles }),
            ..Default::default()
        };
        let Prepared { op, fragment, .. } = super::super::prepare::prepare(
            &request,
            &GatewayLimits::new(&Config::default()),
            ShardPlace::ONLY,
            &[],
        )?;
        let Op::Commit(commit) = op else { panic!("{op:?}") };
        Ok((*commit, fragment))
    }

    #[test]
    fn a_commit_is_settles_and_publishes_or_one_of_them() {
        let (commit, fragment) =
            prepared(vec![settle("s", 16, &[3, 4]), settle("z", 16, &[9])], &[("a", 1), ("b", 2)]).unwrap();
        let ack = |p| Settlement { first: p, last: p, attempt: 1, verdict: Verdict::Ack };
        assert_eq!(commit.settles[0].settlements, [ack(3), ack(4)]);
        assert_eq!((commit.settles[1].subscription.as_str(), commit.settles[1].token), ("z", [7; 16]));
        assert_eq!(commit.publishes.iter().map(|p| p.topic).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(commit.publishes.fragment_bytes(), fragment.len() as u64);
        let (only_settles, fragment) = prepared(vec![settle("s", 16, &[3])], &[]).unwrap();
        assert_eq!((only_settles.publishes.count(), fragment.len()), (0, 0));
        let (only_publishes, _) = prepared(vec![], &[("a", 1)]).unwrap();
        assert_eq!(only_publishes.settles, []);
    }

    #[test]
    fn one_wrong_part_refuses_the_whole() {
        let reason = |settles, publishes: &[(&str, usize)]| prepared(settles, publishes).unwrap_err().reason;
        assert_eq!(reason(vec![], &[]), Reason::InvalidArgument);
        assert_eq!(reason(vec![settle("s", 15, &[1])], &[("a", 1)]), Reason::InvalidArgument);
        assert_eq!(reason(vec![settle("s", 0, &[1])], &[]), Reason::InvalidArgument);
        assert_eq!(reason(vec![settle("s", 16, &[])], &[("a", 1)]), Reason::InvalidArgument);
        assert_eq!(reason(vec![settle("no name", 16, &[1])], &[("a", 1)]), Reason::InvalidArgument);
        let many = |count| settle("s", 16, &vec![1; count]);
        assert_eq!(reason(vec![many(5_000), many(5_001)], &[]), Reason::LimitReached);
        let good = || vec![settle("s", 16, &[1])];
        assert_eq!(reason(good(), &[("a", 1), ("no name", 1)]), Reason::InvalidArgument);
        assert_eq!(reason(good(), &[("a", 1), ("b", 1 << 20)]), Reason::MessageTooLarge);
    }
}
