//! The forwarder of a group: this node's operations on their way to whoever leads the group.
//!
//! One ordered queue per group. What is unanswered stays in it and is sent again, in the original order and under the
//! same numbers, whenever the way to the leader was lost: the machine answers what it has seen with the first answer
//! (DESIGN §6.2). The forwarder also holds the gateway's own session with the group, for everything that comes without
//! a session of a client.

mod codec;
mod handle;
mod link;
mod queue;
mod routes;
mod task;

#[cfg(test)]
mod overload_tests;
#[cfg(test)]
pub(crate) mod test_support;

pub(crate) use codec::{decode_envelope, decode_reply, encode_envelope, encode_reply};
pub(crate) use handle::{
    Answer, Forwarder, ForwarderOptions, ForwarderParts, Numbering, Operation, answer_by,
};
pub(crate) use routes::GroupRoutes;
