//! A membership: `[configs u32] { [voters u32] { [node u64][incarnation u64] } } [members u32] { [node u64]
//! [incarnation u64][address length u32][address] }`.

use super::vote::put_voter;
use super::{Input, Malformed};
use crate::type_config::{Membership, Peer};
use bytes::BufMut;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn put_membership(out: &mut impl BufMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_count(out, configs.len());
    for voters in configs {
        put_count(out, voters.len());
        voters.iter().for_each(|voter| put_voter(out, voter));
    }
    put_count(out, membership.nodes().count());
    for (voter, peer) in membership.nodes() {
        put_voter(out, voter);
        put_count(out, peer.address.len());
        out.put_slice(peer.address.as_bytes());
    }
}

pub(super) fn get_membership(input: &mut Input) -> Result<Membership, Malformed> {
    let mut configs = Vec::new();
    for _ in 0..input.count(4)? {
        let mut voters = BTreeSet::new();
        for _ in 0..input.count(16)? {
            voters.insert(input.voter()?);
        }
        configs.push(voters);
    }
    let mut members = BTreeMap::new();
    for _ in 0..input.count(20)? {
        let voter = input.voter()?;
        let len = input.count(1)?;
        let address = String::from_utf8(input.bytes(len)?.to_vec()).map_err(|_| input.invalid())?;
        members.insert(voter, Peer { address });
    }
    // A group that has not begun has no configuration at all; openraft's constructor checks the rest.
    Membership::new(configs, members).map_err(|_| input.invalid())
}

/// Counts are of things in memory: far below 2^32.
pub(super) fn put_count(out: &mut impl BufMut, count: usize) {
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}
