//! Fuzz targets of this crate's decoders: see docs/fuzzing.md.

use super::message::{
    TransferRequest, TransferResponse, VoteRequest, VoteResponse, decode_transfer, decode_transfer_response,
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
use quorate_fuzz::{Codec, Source, Target, run};
use quorate_types::{Incarnation, LogId, NodeId, Voter};
use std::collections::{BTreeMap, BTreeSet};

/// What is read becomes maps and sets of it: of an address of no bytes, a node of some two hundred.
const EACH: usize = 64;

fn voter(source: &mut Source<'_>) -> Voter {
    Voter { node: NodeId::new(source.number()), incarnation: Incarnation::new(source.number()) }
}

fn log_id(source: &mut Source<'_>) -> RaftLogId {
    raft_log_id(LogId { term: source.number(), index: source.number() })
}

fn perhaps<T>(source: &mut Source<'_>, make: impl Fn(&mut Source<'_>) -> T) -> Option<T> {
    source.flip().then(|| make(source))
}

fn vote(source: &mut Source<'_>) -> Vote {
    let (term, voter) = (source.number(), voter(source));
    if source.flip() { Vote::new_committed(term, voter) } else { Vote::new(term, voter) }
}

fn membership(source: &mut Source<'_>) -> Membership {
    let nodes: BTreeMap<Voter, Peer> =
        (0..=source.below(5)).map(|_| (voter(source), Peer { address: source.text() })).collect();
    let all: Vec<Voter> = nodes.keys().copied().collect();
    let some: BTreeSet<Voter> = all[..=source.below(all.len())].iter().copied().collect();
    let configs = if source.flip() { vec![some, all.into_iter().collect()] } else { vec![some] };
    Membership::new(configs, nodes).unwrap()
}

fn payload(source: &mut Source<'_>) -> Payload {
    match source.byte() % 3 {
        0 => Payload::Blank,
        1 => Payload::Membership(membership(source)),
        _ => Payload::Normal(EntryData::new(source.bytes(40).into(), source.flip())),
    }
}

/// The fields of an append, which as one are not compared.
type Append = (Vote, Option<RaftLogId>, Option<RaftLogId>, Vec<Entry>);

#[test]
fn fuzz_append() {
    let codec = Codec::<Append, Malformed> {
        encode: |(vote, prev_log_id, leader_commit, entries)| {
            let request = AppendRequest {
                vote: *vote,
                prev_log_id: *prev_log_id,
                leader_commit: *leader_commit,
                entries: entries.clone(),
            };
            encode_append(&request).concat().to_vec()
        },
        decode: |bytes| {
            let append = decode_append(Bytes::copy_from_slice(bytes))?;
            Ok((append.vote, append.prev_log_id, append.leader_commit, append.entries))
        },
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let entry = |source: &mut Source<'_>| Entry { log_id: log_id(source), payload: payload(source) };
        let entries = (0..source.below(4)).map(|_| entry(source)).collect();
        let append = (vote(source), perhaps(source, log_id), perhaps(source, log_id), entries);
        target.check(source, seen, &append);
    });
}

#[test]
fn fuzz_append_response() {
    let codec = Codec::<AppendResponse, Malformed> {
        encode: |response| encode_append_response(response).to_vec(),
        decode: |bytes| decode_append_response(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let response = match source.byte() % 3 {
            0 => Ok(perhaps(source, log_id)),
            1 => Err(StreamAppendError::Conflict(log_id(source))),
            _ => Err(StreamAppendError::HigherVote(vote(source))),
        };
        target.check(source, seen, &response);
    });
}

#[test]
fn fuzz_vote() {
    let codec = Codec::<Vote, Malformed> {
        encode: encode_vote,
        decode: |bytes| decode_vote(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let vote = vote(source);
        target.check(source, seen, &vote);
    });
}

#[test]
fn fuzz_vote_request() {
    let codec = Codec::<VoteRequest, Malformed> {
        encode: |request| encode_vote_request(request).to_vec(),
        decode: |bytes| decode_vote_request(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let mut request = VoteRequest::new(vote(source), perhaps(source, log_id));
        request.leadership_transfer = source.flip();
        target.check(source, seen, &request);
    });
}

#[test]
fn fuzz_vote_response() {
    let codec = Codec::<VoteResponse, Malformed> {
        encode: |response| encode_vote_response(response).to_vec(),
        decode: |bytes| decode_vote_response(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let response = VoteResponse::new(vote(source), perhaps(source, log_id), source.flip());
        target.check(source, seen, &response);
    });
}

#[test]
fn fuzz_transfer() {
    let codec = Codec::<TransferRequest, Malformed> {
        encode: |request| encode_transfer(request).to_vec(),
        decode: |bytes| decode_transfer(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let request = TransferRequest::new(vote(source), voter(source), perhaps(source, log_id));
        target.check(source, seen, &request);
    });
}

#[test]
fn fuzz_transfer_response() {
    let codec = Codec::<TransferResponse, Malformed> {
        encode: |response| encode_transfer_response(response).to_vec(),
        decode: |bytes| decode_transfer_response(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let response = match source.byte() % 3 {
            0 => Ok(()),
            1 => Err(TransferLeaderError::VoteChanged { expected: vote(source), actual: vote(source) }),
            _ => {
                let (expected, actual) = (perhaps(source, log_id), perhaps(source, log_id));
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
        };
        target.check(source, seen, &response);
    });
}

#[test]
fn fuzz_log_entry() {
    let codec = Codec::<(Payload, bool), Malformed> {
        encode: |(payload, _)| encode_payload(payload).0.to_vec(),
        decode: |bytes| Ok((decode_payload(Bytes::copy_from_slice(bytes), true)?, true)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let payload = match payload(source) {
            // Whether there is a block is beside the bytes.
            Payload::Normal(data) => Payload::Normal(EntryData::new(data.bytes, true)),
            payload => payload,
        };
        target.check(source, seen, &(payload, true));
        let _ = batch_of(source.bytes(20).into());
    });
}

#[test]
fn fuzz_snapshot_meta() {
    let codec = Codec::<SnapshotMeta, Malformed> {
        encode: encode_snapshot_meta,
        decode: |bytes| decode_snapshot_meta(Bytes::copy_from_slice(bytes)),
    };
    let target = Target::new(&codec).holds(1 << 10, EACH);
    run!(|source, seen| {
        let last_membership = StoredMembership::new(perhaps(source, log_id), membership(source));
        let meta = SnapshotMeta { last_log_id: perhaps(source, log_id), last_membership };
        target.check(source, seen, &meta);
    });
}
