//! The messages that hold users' messages, with these left encoded.
//!
//! On the wire a nested message and a byte string are the same thing (length-delimited fields), so these types stand in for
//! those of their names in `quorate.v1` exactly as `proto/` defines them. A node that would decode each message
//! to encode it again for the disk, and again for each delivery, would spend most of its time on that.

use crate::parted;
use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, bool, encode_key, encode_varint, message, string, uint32, uint64};
use quorate_types::Parts;

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
    /// Refuse `messages` if one is for no subscription.
    #[prost(bool, tag = "10")]
    pub mandatory: bool,
    /// The shard, where neither session nor messages say it.
    #[prost(uint32, optional, tag = "14")]
    pub shard: Option<u32>,
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
    /// Refuse them if one is for no subscription.
    #[prost(bool, tag = "5")]
    pub mandatory: bool,
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

impl parted::Message for PublishRequest {
    fn append(&self, parts: &mut Parts) {
        let Self { namespace, session, sequence, topic, messages, more, commit, mandatory, shard } = self;
        let small = parts.small();
        if !namespace.is_empty() {
            string::encode(1, namespace, small);
        }
        if *session != 0 {
            uint64::encode(2, session, small);
        }
        if *sequence != 0 {
            uint64::encode(3, sequence, small);
        }
        if !topic.is_empty() {
            string::encode(4, topic, small);
        }
        messages.iter().for_each(|message| append_bytes(5, message, parts));
        for more in more {
            encode_key(6, WireType::LengthDelimited, parts.small());
            encode_varint(more.encoded_len() as u64, parts.small());
            let TopicMessages { topic, messages, mandatory } = more;
            if !topic.is_empty() {
                append_bytes(1, topic, parts);
            }
            messages.iter().for_each(|message| append_bytes(2, message, parts));
            if *mandatory {
                bool::encode(5, mandatory, parts.small());
            }
        }
        if let Some(commit) = commit {
            message::encode(7, commit, parts.small());
        }
        if *mandatory {
            bool::encode(10, mandatory, parts.small());
        }
        if let Some(shard) = shard {
            uint32::encode(14, shard, parts.small());
        }
    }
}

fn append_bytes(field: u32, bytes: &Bytes, parts: &mut Parts) {
    parted::append_bytes(field, std::slice::from_ref(bytes), parts);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parted::Message as _;
    use crate::v1::{Commit, CommitSettle, Settlement};
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = Vec<Bytes>> {
        let bytes = prop_oneof![0_usize..9, 100_usize..300, 16_000_usize..17_000];
        proptest::collection::vec(bytes.prop_map(|size| Bytes::from(vec![7; size])), 0..5)
    }

    proptest! {
        #[test]
        fn a_request_in_parts_is_the_same_request(
            (namespace, session, sequence, topic) in (".{0,3}", 0_u64..3, 0_u64..3, ".{0,3}"),
            messages in messages(),
            more in proptest::collection::vec((".{0,3}", messages(), any::<bool>()), 0..4),
            commit in proptest::option::of((".{0,3}", 0_u64..9)),
            (mandatory, shard) in any::<(bool, Option<u32>)>(),
        ) {
            let more = more.into_iter().map(|(topic, messages, mandatory)| {
                TopicMessages { topic: topic.into(), messages, mandatory }
            });
            let more = more.collect();
            let commit = commit.map(|(subscription, first)| Commit {
                settles: vec![CommitSettle {
                    subscription,
                    identity: Bytes::from_static(b"identity"),
                    settlements: vec![Settlement { first, last: 2 * first, ..Default::default() }],
                }],
            });
            let request =
                PublishRequest { namespace, session, sequence, topic, messages, more, commit, mandatory, shard };
            let mut parts = Parts::default();
            request.append(&mut parts);
            prop_assert_eq!(parts.concat(), request.encode_to_vec());
        }
    }
}
