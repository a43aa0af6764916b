//! A vote: `[version u8][term u64][node u64][incarnation u64][committed u8]`. And the small things that other formats
//! are made of.

use super::{Input, Malformed};
use crate::type_config::{LeaderId, RaftLogId, Vote, log_id, raft_log_id};
use bytes::{BufMut, Bytes};
use quorate_types::Voter;

const VERSION: u8 = 1;

/// A vote for the log or the wire.
pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::with_capacity(26);
    out.put_u8(VERSION);
    put_vote(&mut out, vote);
    out
}

/// Reads [`encode_vote`]'s bytes.
///
/// # Errors
/// When they are anything else.
pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, Malformed> {
    let mut input = Input::versioned("vote", bytes, VERSION)?;
    let vote = get_vote(&mut input)?;
    input.end()?;
    Ok(vote)
}

pub(super) fn put_vote(out: &mut impl BufMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    put_voter(out, &vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

pub(super) fn get_vote(input: &mut Input) -> Result<Vote, Malformed> {
    let term = input.u64()?;
    let voted_for = input.voter()?;
    Ok(Vote { leader_id: LeaderId { term, voted_for }, committed: input.flag()? })
}

pub(super) fn put_voter(out: &mut impl BufMut, voter: &Voter) {
    out.put_u64_le(voter.node.get());
    out.put_u64_le(voter.incarnation.get());
}

pub(super) fn put_log_id(out: &mut impl BufMut, id: &RaftLogId) {
    let id = log_id(id);
    out.put_u64_le(id.term);
    out.put_u64_le(id.index);
}

pub(super) fn put_log_id_option(out: &mut impl BufMut, id: Option<&RaftLogId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

pub(super) fn get_log_id_option(input: &mut Input) -> Result<Option<RaftLogId>, Malformed> {
    Ok(input.option(Input::log_id)?.map(raft_log_id))
}
