//! When all has settled, every replica of a group is the same.

use super::Violation;
use quorate_consensus::{Group, GroupStatus};
use quorate_types::GroupId;
use std::collections::BTreeMap;

/// Whether all replicas have applied the same; says what differs.
pub(super) fn alike(replicas: &[(String, Vec<Group>)]) -> Result<(), String> {
    let mut seen: BTreeMap<GroupId, (&str, GroupStatus)> = BTreeMap::new();
    for (node, groups) in replicas {
        for group in groups {
            let status = group.status();
            let (other, first) = seen.entry(group.id()).or_insert_with(|| (node, status.clone()));
            if (first.applied, first.state_hash) != (status.applied, status.state_hash) {
                return Err(format!(
                    "group {}: {other} has applied {:?}, {node} {:?}",
                    group.id(),
                    first.applied,
                    status.applied
                ));
            }
        }
    }
    Ok(())
}

/// The rows themselves: the chain of hashes speaks of what was applied, this of what came of it.
pub(super) fn same_rows(replicas: &[(String, Vec<Group>)]) -> Result<(), Violation> {
    let mut seen: BTreeMap<GroupId, (&str, u64)> = BTreeMap::new();
    for (node, groups) in replicas {
        for group in groups {
            let rows = group.read(|machine| {
                let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
                for (key, value) in machine.image() {
                    hash.update(&key);
                    hash.update(&value);
                }
                hash.digest()
            });
            let (other, first) = *seen.entry(group.id()).or_insert((node, rows));
            if first != rows {
                let what = format!("the rows of group {} differ between {other} and {node}", group.id());
                return Err(Violation::new("replicas", what));
            }
        }
    }
    Ok(())
}
