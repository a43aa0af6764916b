//! Bounds of the protocol itself. What a shard accepts is in [`quorate_types::Limits`].

/// Bytes of one message on the client services, in both directions. The largest legal publish (4 MiB) and any page of a
/// listing fit twice.
pub const CLIENT_BYTES_MAX: usize = 8 << 20;

/// Bytes of one message between nodes: an append of several entries of 4 MiB, or one snapshot chunk, with room for an
/// operator who raises the entry limit.
pub const PEER_BYTES_MAX: usize = 64 << 20;

/// Streams that one connection may have open at a time. tonic sets no limit of its own; HTTP/2 peers commonly allow 100 to
/// 1,000, and a client library shares one connection among all its publishers and consumers.
pub const CONCURRENT_STREAMS_MAX: u32 = 1_000;
