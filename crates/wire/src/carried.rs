//! The messages that hold users' messages, with these left encoded.
//!
//! On the wire a nested message and a byte string are the same thing (length-delimited fields), so these types stand in for
//! those of their names in `quorate.v1` exactly as `proto/` defines them. A node that would decode each message
//! to encode it again for the disk, and again for each delivery, would spend most of its time on that.

use bytes::Bytes;

/// `quorate.v1.PublishRequest`; its fields are described there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PublishRequest {
    /// Empty: `default`.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// From `OpenSession`, or 0.
    #[prost(uint64, tag = "2")]
    pub session: u64,
    /// The request's number in the session.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Where to.
    #[prost(string, tag = "4")]
    pub topic: String,
    /// Encoded [`crate::v1::Message`]s. What a client sends here is not checked yet: see [`crate::MessageView::parse`].
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub messages: Vec<Bytes>,
    /// What goes to further topics.
    #[prost(message, repeated, tag = "6")]
    pub more: Vec<TopicMessages>,
    /// Leases to end with it: all or nothing.
    #[prost(message, optional, tag = "7")]
    pub commit: Option<crate::v1::Commit>,
}

/// `quorate.v1.TopicMessages`. There is one for each message of a publisher that changes the topic with each: the name too is
/// left as it came.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TopicMessages {
    /// Where to: not even checked to be text yet.
    #[prost(bytes = "bytes", tag = "1")]
    pub topic: Bytes,
    /// Encoded [`crate::v1::Message`]s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub messages: Vec<Bytes>,
}

/// `quorate.v1.Run`; its fields are described there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Run {
    /// The topic of all of them.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// Offset of the first message; the others follow densely.
    #[prost(uint64, tag = "2")]
    pub first_offset: u64,
    /// When the leader stored them.
    #[prost(uint64, tag = "3")]
    pub timestamp_ms: u64,
    /// Encoded [`crate::v1::Message`]s.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub messages: Vec<Bytes>,
}
