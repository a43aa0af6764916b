//! Operations and replies as they go between nodes: the machine crate's encoding, bounded on the way in.

use bytes::Bytes;
use quorate_machine::{Envelope, Reply, entry};
use thiserror::Error;

/// A peer sent what this version does not understand.
#[derive(Debug, Error)]
#[error("a peer's {what} is not understood: {source}")]
pub(crate) struct CodecError {
    what: &'static str,
    source: entry::DecodeError,
}

pub(crate) fn encode_envelope(envelope: &Envelope) -> Bytes {
    entry::encode_envelope(envelope)
}

/// # Errors
/// [`CodecError`] when it is not one.
pub(crate) fn decode_envelope(bytes: &[u8]) -> Result<Envelope, CodecError> {
    entry::decode_envelope(bytes).map_err(|source| CodecError { what: "operation", source })
}

pub(crate) fn encode_reply(reply: &Reply) -> Bytes {
    entry::encode_reply(reply)
}

/// # Errors
/// [`CodecError`] when it is not one.
pub(crate) fn decode_reply(bytes: &[u8]) -> Result<Reply, CodecError> {
    entry::decode_reply(bytes).map_err(|source| CodecError { what: "reply", source })
}
