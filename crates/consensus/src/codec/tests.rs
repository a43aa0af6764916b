//! Every format survives the round trip, and whatever else is read is refused without a panic.

use super::message::{
    AppendRequest, TransferRequest, VoteRequest, VoteResponse, decode_transfer, decode_transfer_response,
    decode_vote_request, decode_vote_response, encode_transfer, encode_transfer_response,
    encode_vote_request, encode_vote_response,
};
use super::record::{decode_payload, encode_payload};
use super::*;
use crate::type_config::{
    Entry, EntryData, Membership, Payload, Peer, RaftLogId, SnapshotMeta, StoredMembership, Vote, raft_log_id,
};
use bytes::Bytes;
use openraft::raft::{StreamAppendError, TransferLeaderError};
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_types::{Incarnation, LogId, NodeId, Voter};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

fn voters() -> impl Strategy<Value = Voter> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(node, life)| Voter { node: NodeId::new(node), incarnation: Incarnation::new(life) })
}

fn log_ids() -> impl Strategy<Value = RaftLogId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| raft_log_id(LogId { term, index }))
}

fn votes() -> impl Strategy<Value = Vote> {
    (any::<u64>(), voters(), any::<bool>()).prop_map(|(term, voter, committed)| match committed {
        true => Vote::new_committed(term, voter),
        false => Vote::new(term, voter),
    })
}

fn memberships() -> impl Strategy<Value = Membership> {
    let members = vec((voters(), "[a-z]{0,9}:[0-9]{1,5}"), 1..6);
    (members, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(members, cut, joint)| {
        let nodes: BTreeMap<Voter, Peer> =
            members.into_iter().map(|(voter, address)| (voter, Peer { address })).collect();
        let all: Vec<Voter> = nodes.keys().copied().collect();
        let some: BTreeSet<Voter> = all[..=cut.index(all.len())].iter().copied().collect();
        let configs = if joint { vec![some, all.into_iter().collect()] } else { vec![some] };
        Membership::new(configs, nodes).unwrap()
    })
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Blank),
        memberships().prop_map(Payload::Membership),
        (vec(any::<u8>(), 0..200), any::<bool>())
            .prop_map(|(bytes, block)| Payload::Normal(EntryData::new(bytes.into(), block))),
    ]
}

fn appends() -> impl Strategy<Value = AppendRequest> {
    let entries = vec((log_ids(), payloads()), 0..5);
    (votes(), prop::option::of(log_ids()), prop::option::of(log_ids()), entries).prop_map(
        |(vote, prev_log_id, leader_commit, entries)| AppendRequest {
            vote,
            prev_log_id,
            leader_commit,
            entries: entries.into_iter().map(|(log_id, payload)| Entry { log_id, payload }).collect(),
        },
    )
}

/// Every proper prefix is refused, so is anything after the end, and no flipped byte makes a decoder panic.
fn refuses_damage<T: Debug>(bytes: &Bytes, decode: impl Fn(Bytes) -> Result<T, Malformed>) {
    for len in 0..bytes.len() {
        assert!(decode(bytes.slice(..len)).is_err(), "a prefix of {len} of {} bytes was taken", bytes.len());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(decode(longer.into()).is_err(), "a trailing byte was taken");
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0xFF;
        let _either = decode(flipped.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_payload_survives_the_round_trip(payload in payloads()) {
        let (bytes, block) = encode_payload(&payload);
        prop_assert_eq!(decode_payload(bytes, block).unwrap(), payload);
    }

    #[test]
    fn an_append_survives_the_round_trip_and_damage_is_refused(request in appends()) {
        let bytes = encode_append(&request).concat();
        let read = decode_append(bytes.clone()).unwrap();
        prop_assert_eq!(read.vote, request.vote);
        prop_assert_eq!(read.prev_log_id, request.prev_log_id);
        prop_assert_eq!(read.leader_commit, request.leader_commit);
        prop_assert_eq!(read.entries, request.entries);
        refuses_damage(&bytes, decode_append);
    }

    #[test]
    fn votes_and_their_answers_survive_the_round_trip(
        vote in votes(), last in prop::option::of(log_ids()), granted in any::<bool>(), transfer in any::<bool>()
    ) {
        let bytes = Bytes::from(encode_vote(&vote));
        prop_assert_eq!(decode_vote(bytes.clone()).unwrap(), vote);
        refuses_damage(&bytes, decode_vote);

        let mut request = VoteRequest::new(vote, last);
        request.leadership_transfer = transfer;
        let bytes = encode_vote_request(&request);
        prop_assert_eq!(decode_vote_request(bytes.clone()).unwrap(), request);
        refuses_damage(&bytes, decode_vote_request);

        let response = VoteResponse::new(vote, last, granted);
        let bytes = encode_vote_response(&response);
        prop_assert_eq!(decode_vote_response(bytes.clone()).unwrap(), response);
        refuses_damage(&bytes, decode_vote_response);
    }

    #[test]
    fn append_answers_survive_the_round_trip(vote in votes(), at in log_ids(), some in any::<bool>()) {
        for answer in [
            Ok(some.then_some(at)),
            Err(StreamAppendError::Conflict(at)),
            Err(StreamAppendError::HigherVote(vote)),
        ] {
            let bytes = encode_append_response(&answer);
            prop_assert_eq!(decode_append_response(bytes.clone()).unwrap(), answer);
            refuses_damage(&bytes, decode_append_response);
        }
    }

    #[test]
    fn transfers_survive_the_round_trip(
        from in votes(), actual in votes(), to in voters(), last in prop::option::of(log_ids())
    ) {
        let request = TransferRequest::new(from, to, last);
        let bytes = encode_transfer(&request);
        prop_assert_eq!(decode_transfer(bytes.clone()).unwrap(), request);
        refuses_damage(&bytes, decode_transfer);
        for answer in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: from, actual }),
            Err(TransferLeaderError::LogNotFlushed { expected: last, actual: None }),
        ] {
            let bytes = encode_transfer_response(&answer);
            prop_assert_eq!(decode_transfer_response(bytes.clone()).unwrap(), answer);
            refuses_damage(&bytes, decode_transfer_response);
        }
    }

    #[test]
    fn snapshot_metadata_survives_the_round_trip(
        last in prop::option::of(log_ids()), at in prop::option::of(log_ids()), membership in memberships()
    ) {
        let meta = SnapshotMeta { last_log_id: last, last_membership: StoredMembership::new(at, membership) };
        let bytes = Bytes::from(encode_snapshot_meta(&meta));
        prop_assert_eq!(decode_snapshot_meta(bytes.clone()).unwrap(), meta);
        refuses_damage(&bytes, decode_snapshot_meta);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..120)) {
        let bytes = Bytes::from(bytes);
        let _either = decode_append(bytes.clone());
        let _either = decode_snapshot_meta(bytes.clone());
        let _either = decode_payload(bytes.clone(), true);
        let _either = decode_vote_request(bytes);
    }
}

#[test]
fn a_batch_is_not_copied_on_its_way_into_the_log_and_out_of_it() {
    let batch = Bytes::from(vec![1_u8; 1 << 16]);
    let (bytes, block) = encode_payload(&Payload::Normal(EntryData::new(batch.clone(), true)));
    assert!(block);
    assert_eq!(bytes.as_ptr(), batch.as_ptr());
    assert_eq!(batch_of(bytes).unwrap().as_ptr(), batch.as_ptr());
}

#[test]
fn a_length_beyond_the_input_allocates_nothing() {
    // 2^32 - 1 entries are announced, none follows.
    let mut bytes = encode_append(&AppendRequest {
        vote: Vote::new(1, Voter::from(1)),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    })
    .concat()
    .to_vec();
    let len = bytes.len();
    bytes[len - 4..].fill(0xFF);
    assert_eq!(decode_append(bytes.into()).unwrap_err(), Malformed::Short { what: "append request" });
}
