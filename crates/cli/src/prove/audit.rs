//! What the cluster holds in the end: the topic message by message through every node, the counters of the subscriptions,
//! and the state of the replicas.

use super::verdict::Violations;
use crate::failure::Failure;
use quorate_client::{Client, ReadFrom, ReadOptions, v1};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Replicas that are at different entries are looked at again, so often…
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// …and so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a whole topic through each of the clients.
pub(super) async fn read_back(
    clients: &[Client],
    topic: &str,
    mut note: impl FnMut(&[u8], (u32, u64)),
    mut progress: impl FnMut(u64),
) -> Result<(), Failure> {
    let mut count = 0;
    for client in clients {
        let all = ReadOptions { from: ReadFrom::Oldest, limit: None, linearizable: true, key: None };
        let mut reader = client.read(topic, all);
        while let Some(stored) = reader.next().await {
            let stored = stored?;
            note(&stored.message.payload, (stored.shard, stored.offset));
            count += 1;
            progress(count);
        }
    }
    Ok(())
}

/// Waits until everything that was routed to a subscription is settled, or nothing of it is any more.
pub(super) async fn settled(client: &Client, subscription: &str, patience: Duration) -> Result<(), Failure> {
    let mut last = (u64::MAX, Instant::now());
    loop {
        let described = client.describe_subscription(subscription).await?;
        let ledger = described.subscription.and_then(|s| s.ledger).unwrap_or_default();
        let left = ledger.ready + ledger.leased + ledger.delayed;
        if left == 0 {
            return Ok(());
        }
        if left != last.0 {
            last = (left, Instant::now());
        } else if last.1.elapsed() >= patience {
            // What is missing is counted as lost.
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Compares counters and replicas; adds to the violations.
pub(super) async fn compare(
    client: &Client,
    subscriptions: &[String],
    violations: &mut Violations,
) -> Result<(), Failure> {
    for subscription in subscriptions {
        let described = client.describe_subscription(subscription).await?;
        let ledger = described.subscription.and_then(|s| s.ledger).unwrap_or_default();
        if !adds_up(&ledger) {
            violations.not_conserved += 1;
        }
    }
    let since = Instant::now();
    loop {
        let (differ, comparable) = compare_replicas(&client.status().await?.groups);
        if differ > 0 || comparable || since.elapsed() >= PATIENCE {
            violations.replicas_differ += differ;
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// routed = ready + leased + delayed + acked + expired + dead-lettered + dropped + purged.
fn adds_up(ledger: &v1::Ledger) -> bool {
    let parts = [
        ledger.ready,
        ledger.leased,
        ledger.delayed,
        ledger.acked,
        ledger.expired,
        ledger.dead_lettered,
        ledger.dropped,
        ledger.purged,
    ];
    parts.iter().sum::<u64>() == ledger.routed
}

/// How many groups have replicas with different states after the same entry; and whether all replicas of all groups
/// could be compared.
fn compare_replicas(groups: &[v1::Group]) -> (u64, bool) {
    let mut differ = 0;
    let mut comparable = true;
    for group in groups {
        let mut states: BTreeMap<u64, u64> = BTreeMap::new();
        let known = group.replicas.iter().filter(|r| r.role() != v1::Role::Unknown);
        let mut unequal = false;
        for replica in known {
            let state = *states.entry(replica.applied_index).or_insert(replica.state_hash);
            unequal |= state != replica.state_hash;
        }
        differ += u64::from(unequal);
        comparable &= states.len() == 1 && group.replicas.iter().all(|r| r.role() != v1::Role::Unknown);
    }
    (differ, comparable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(replicas: &[(u64, u64)]) -> v1::Group {
        let replica = |&(applied_index, state_hash)| v1::Replica {
            applied_index,
            state_hash,
            role: v1::Role::Follower.into(),
            ..Default::default()
        };
        v1::Group { replicas: replicas.iter().map(replica).collect(), ..Default::default() }
    }

    #[test]
    fn replicas_are_compared_where_they_applied_equally_much() {
        assert_eq!(compare_replicas(&[group(&[(5, 1), (5, 1), (5, 1)])]), (0, true));
        assert_eq!(compare_replicas(&[group(&[(5, 1), (4, 2), (5, 1)])]), (0, false));
        assert_eq!(compare_replicas(&[group(&[(5, 1), (5, 2), (4, 1)])]), (1, false));
        let mut silent = group(&[(5, 1), (0, 0)]);
        silent.replicas[1].role = v1::Role::Unknown.into();
        assert_eq!(compare_replicas(&[silent]), (0, false));
    }

    #[test]
    fn counters_must_add_up() {
        let ledger = v1::Ledger { routed: 10, ready: 2, leased: 3, acked: 5, ..Default::default() };
        assert!(adds_up(&ledger));
        assert!(!adds_up(&v1::Ledger { acked: 6, ..ledger }));
    }
}
