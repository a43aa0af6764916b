//! Words that every room of Quorate shares: names, ids, filters, limits and refusals. No I/O, no clock.
//!
//! Names and filters are validated newtypes: whoever holds one need not check it again.

mod access;
mod filter;
#[cfg(test)]
mod fuzz;
mod id;
mod limits;
mod memory;
mod name;
mod parts;
pub mod probe;
mod refusal;
mod rope;
mod selector;
mod shards;
mod text;
mod time;
mod traceparent;

pub use access::{Permission, UserName, UserNameError};
pub use filter::{Filter, FilterError, Subject};
pub use id::{
    BootId, ClusterId, ConsumerId, GroupId, Incarnation, LogId, NamespaceId, NodeId, SessionId,
    SubscriptionId, TopicId, Voter,
};
pub use limits::Limits;
pub use memory::{Memory, MemoryUse};
pub use name::{MarkName, NameError, NamespaceName, ProducerName, RoleName, SubscriptionName, TopicName};
pub use parts::Parts;
pub use refusal::{Kind, Reason, Refusal};
pub use rope::Rope;
pub use selector::{HeaderMatch, HeaderMatchError, MatchRule, Selector};
pub use shards::{ShardPlace, Shards, ShardsError};
pub use time::{Clock, Entropy, Millis};
pub use traceparent::{TraceParent, TraceParentError};
