//! This crate's own formats: what a Raft entry is in the log, what a vote is, and what nodes say to each other.
//!
//! openraft's serde formats change between its versions and are positional under bincode, so none of them is used. Every
//! format here is little-endian and begins with a version byte; a decoder checks each length against what is left
//! before it allocates.

mod input;
mod membership;
mod message;
mod record;
mod snapshot;
mod vote;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub(crate) use input::Input;
pub use input::Malformed;
pub(crate) use message::{
    AppendRequest, AppendResponse, decode_append, decode_append_response, decode_transfer,
    decode_transfer_response, decode_vote_request, decode_vote_response, encode_append,
    encode_append_response, encode_transfer, encode_transfer_response, encode_vote_request,
    encode_vote_response,
};
pub(crate) use record::{batch_of, decode_entry, encode_payload};
pub(crate) use snapshot::{decode_snapshot_meta, encode_snapshot_meta};
pub(crate) use vote::{decode_vote, encode_vote};
