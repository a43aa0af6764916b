//! One file per operation. Each says what it does to the state it is about; [`crate::Machine`] picks the file.

mod attach;
mod bind;
mod bind_topic;
mod cancel;
mod close_session;
mod close_shard;
mod commit;
mod compact;
mod configure_topic;
mod create_namespace;
mod create_subscription;
mod create_topic;
mod delete_mark;
mod delete_namespace;
mod delete_producer;
mod delete_quota;
mod delete_subscription;
mod delete_topic;
mod detach;
mod drain;
mod expire_node;
mod form_cluster;
mod gather;
mod hello;
mod join_node;
mod keep_namespace;
mod mark;
mod move_group;
mod open_producer;
mod open_session;
mod open_shard;
mod publish;
mod publish_each;
mod purge;
mod put_quota;
mod raise_version;
mod register_node;
mod remove_node;
mod restore_namespace;
mod roles;
mod route;
mod seek;
mod set_credit;
mod settle;
mod tick;
mod unbind;
mod unbind_topic;
mod users;

pub use raise_version::TooOld;

use quorate_types::{ConsumerId, MarkName, NodeId, Reason, Refusal, SubscriptionName};
use std::fmt::Display;

/// A count is at its limit.
fn limit(what: impl Display, max: impl Display) -> Refusal {
    Refusal::new(Reason::LimitReached, format!("{what} reached the limit of {max}: delete some first"))
}

pub(crate) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidArgument, text)
}

fn no_node(node: NodeId) -> Refusal {
    let text = format!("the cluster has no node {node}: `quorate cluster status` lists its nodes");
    Refusal::new(Reason::NodeNotFound, text)
}

fn no_mark(subscription: &SubscriptionName, mark: &MarkName) -> Refusal {
    let text = format!("subscription {subscription} has no mark {mark}: describing it lists its marks");
    Refusal::new(Reason::MarkNotFound, text)
}

fn unknown_consumer(id: ConsumerId) -> Refusal {
    let text = format!("consumer {id} is not attached: it was detached, or its node expired; attach again");
    Refusal::new(Reason::ConsumerNotFound, text)
}

/// How many messages a consumer may hold.
fn check_credit(credit: u32, max: u32) -> Result<(), Refusal> {
    if (1..=max).contains(&credit) {
        return Ok(());
    }
    Err(invalid(format!("the credit is {credit}; it must be 1 to {max}")))
}
