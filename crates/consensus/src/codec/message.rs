//! What the members of a group say to each other: the content of a peer frame.
//!
//! An append is `[version][vote][previous id?][commit id?][entries u32] { [term u64][index u64][flags u8][len u32] }`
//! followed by the entries' bytes one after the other, so that the receiver slices them out of one buffer.

use super::membership::put_count;
use super::record::{decode_payload, encode_payload};
use super::vote::{get_log_id_option, get_vote, put_log_id, put_log_id_option, put_vote, put_voter};
use super::{Input, Malformed};
use crate::type_config::{Entry, TypeConfig, raft_log_id};
use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{StreamAppendError, StreamAppendResult, TransferLeaderError};
use quorate_types::Parts;

/// Entries from a leader.
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
/// How far they match, or why not.
pub(crate) type AppendResponse = StreamAppendResult<TypeConfig>;
/// A candidate's question.
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
/// Its answer.
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
/// A leader names its successor.
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
/// The answer to that.
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;

const VERSION: u8 = 1;
/// Bytes before an entry's own.
const ENTRY_HEADER: usize = 21;
const FLAG_BLOCK: u8 = 1;

pub(crate) fn encode_append(request: &AppendRequest) -> Parts {
    let encoded: Vec<(Bytes, bool)> =
        request.entries.iter().map(|entry| encode_payload(&entry.payload)).collect();
    let mut parts = Parts::default();
    let out = parts.small();
    out.put_u8(VERSION);
    put_vote(out, &request.vote);
    put_log_id_option(out, request.prev_log_id.as_ref());
    put_log_id_option(out, request.leader_commit.as_ref());
    put_count(out, encoded.len());
    for (entry, (bytes, block)) in request.entries.iter().zip(&encoded) {
        put_log_id(out, &entry.log_id);
        out.put_u8(if *block { FLAG_BLOCK } else { 0 });
        put_count(out, bytes.len());
    }
    encoded.iter().for_each(|(bytes, _)| parts.put(bytes));
    parts
}

pub(crate) fn decode_append(bytes: Bytes) -> Result<AppendRequest, Malformed> {
    let mut input = Input::versioned("append request", bytes, VERSION)?;
    let vote = get_vote(&mut input)?;
    let prev_log_id = get_log_id_option(&mut input)?;
    let leader_commit = get_log_id_option(&mut input)?;
    let count = input.count(ENTRY_HEADER)?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let id = input.log_id()?;
        let block = input.flag()?;
        headers.push((id, block, input.u32()?));
    }
    let mut entries = Vec::with_capacity(count);
    for (id, block, len) in headers {
        let len = usize::try_from(len).map_err(|_| input.invalid())?;
        let payload = decode_payload(input.bytes(len)?, block)?;
        entries.push(Entry { log_id: raft_log_id(id), payload });
    }
    input.end()?;
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit })
}

pub(crate) fn encode_append_response(response: &AppendResponse) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    out.put_u8(VERSION);
    match response {
        Ok(matching) => {
            out.put_u8(0);
            put_log_id_option(&mut out, matching.as_ref());
        }
        Err(StreamAppendError::Conflict(at)) => {
            out.put_u8(1);
            put_log_id(&mut out, at);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn decode_append_response(bytes: Bytes) -> Result<AppendResponse, Malformed> {
    let mut input = Input::versioned("append response", bytes, VERSION)?;
    let response = match input.u8()? {
        0 => Ok(get_log_id_option(&mut input)?),
        1 => Err(StreamAppendError::Conflict(raft_log_id(input.log_id()?))),
        2 => Err(StreamAppendError::HigherVote(get_vote(&mut input)?)),
        found => return Err(input.variant(found)),
    };
    input.end()?;
    Ok(response)
}

pub(crate) fn encode_vote_request(request: &VoteRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_vote(&mut out, &request.vote);
    put_log_id_option(&mut out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(crate) fn decode_vote_request(bytes: Bytes) -> Result<VoteRequest, Malformed> {
    let mut input = Input::versioned("vote request", bytes, VERSION)?;
    let vote = get_vote(&mut input)?;
    let last_log_id = get_log_id_option(&mut input)?;
    let leadership_transfer = input.flag()?;
    input.end()?;
    Ok(VoteRequest { vote, last_log_id, leadership_transfer })
}

pub(crate) fn encode_vote_response(response: &VoteResponse) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_vote(&mut out, &response.vote);
    out.put_u8(u8::from(response.vote_granted));
    put_log_id_option(&mut out, response.last_log_id.as_ref());
    out.freeze()
}

pub(crate) fn decode_vote_response(bytes: Bytes) -> Result<VoteResponse, Malformed> {
    let mut input = Input::versioned("vote response", bytes, VERSION)?;
    let vote = get_vote(&mut input)?;
    let vote_granted = input.flag()?;
    let last_log_id = get_log_id_option(&mut input)?;
    input.end()?;
    Ok(VoteResponse { vote, vote_granted, last_log_id })
}

pub(crate) fn encode_transfer(request: &TransferRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    put_vote(&mut out, request.from_leader());
    put_voter(&mut out, request.to_node_id());
    put_log_id_option(&mut out, request.last_log_id());
    out.freeze()
}

pub(crate) fn decode_transfer(bytes: Bytes) -> Result<TransferRequest, Malformed> {
    let mut input = Input::versioned("transfer request", bytes, VERSION)?;
    let from = get_vote(&mut input)?;
    let to = input.voter()?;
    let last = get_log_id_option(&mut input)?;
    input.end()?;
    Ok(TransferRequest::new(from, to, last))
}

pub(crate) fn encode_transfer_response(response: &TransferResponse) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    match response {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_log_id_option(&mut out, expected.as_ref());
            put_log_id_option(&mut out, actual.as_ref());
        }
    }
    out.freeze()
}

pub(crate) fn decode_transfer_response(bytes: Bytes) -> Result<TransferResponse, Malformed> {
    let mut input = Input::versioned("transfer response", bytes, VERSION)?;
    let response = match input.u8()? {
        0 => Ok(()),
        1 => {
            let expected = get_vote(&mut input)?;
            Err(TransferLeaderError::VoteChanged { expected, actual: get_vote(&mut input)? })
        }
        2 => {
            let expected = get_log_id_option(&mut input)?;
            Err(TransferLeaderError::LogNotFlushed { expected, actual: get_log_id_option(&mut input)? })
        }
        found => return Err(input.variant(found)),
    };
    input.end()?;
    Ok(response)
}
