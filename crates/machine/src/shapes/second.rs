//! What is known since the second version of the machine.

use super::Shape;
use super::first::{namespace, node_record};
use crate::access::{AccessChange, Grant, PasswordHash, RoleRecord, UserChange, UserRecord};
use crate::applied::Answer;
use crate::backup::{
    ContentHash, CopiedEntry, CopiedRow, CopyHead, NamespaceRestore, Restore, RestoreStep, Restoring,
};
use crate::op::{GatheredBlock, GatheredPart, Op};
use crate::producers::Fenced;
use crate::quota::{Quota, QuotaOf};
use crate::rows::{self, RowKey};
use crate::shard::Times;
use crate::system::{Drain, NodePlace};
use quorate_types::{
    Filter, GroupId, Incarnation, Millis, NamespaceId, NodeId, Permission, Reason, RoleName, SessionId,
    ShardPlace, Shards, TopicId, UserName,
};
use std::collections::BTreeMap;
use std::time::Duration;

const TOKEN: [u8; 16] = [7; 16];

/// Reasons that came with it.
const REASONS: &[&str] = &[
    "USER_NOT_FOUND",
    "ROLE_NOT_FOUND",
    "USER_EXISTS",
    "ROLE_IN_USE",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NODE_NOT_FOUND",
    "NODE_REMOVED",
    "QUORUM_AT_RISK",
    "DRAIN_BUSY",
    "NAMESPACE_RESTORING",
    "MEMORY_HIGH",
    "QUOTA_EXCEEDED",
];

fn role_name() -> RoleName {
    RoleName::parse("clerk").unwrap()
}

fn user_name() -> UserName {
    UserName::parse("ann@example.com").unwrap()
}

fn user() -> UserRecord {
    UserRecord {
        name: user_name(),
        password: Some(PasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned())),
        roles: vec![role_name()],
    }
}

fn role() -> RoleRecord {
    let grant = |namespace, names: &str| Grant {
        permissions: Permission::ALL.to_vec(),
        namespace,
        names: Filter::parse(names).unwrap(),
    };
    RoleRecord { name: role_name(), grants: vec![grant(None, "#"), grant(Some(namespace()), "orders.*")] }
}

fn quota() -> Quota {
    Quota { messages_per_second: Some(1_000), bytes_per_second: None, streams_max: Some(300) }
}

fn copied_row() -> CopiedRow {
    CopiedRow { key: vec![4, 0, 0, 0, 0, 0, 0, 0, 1], value: vec![1, 2, 3] }
}

fn restore_steps() -> [RestoreStep; 4] {
    let head = CopyHead {
        place: ShardPlace { shard: 2, shards: Shards::new(3).unwrap() },
        now: Millis::new(1 << 41),
        last_topic: 300,
        last_subscription: 301,
        last_binding: 302,
        producers: 7,
    };
    let entry = CopiedEntry { rows: vec![copied_row()], fragment_bytes: 70_000 };
    [
        RestoreStep::Begin(head),
        RestoreStep::Rows(vec![copied_row()]),
        RestoreStep::Blocks(vec![entry]),
        RestoreStep::End,
    ]
}

fn namespace_restores() -> [NamespaceRestore; 3] {
    let id = NamespaceId::new(300);
    let emptied = Some((NamespaceId::new(2), 301));
    [
        NamespaceRestore::Begin { namespace: namespace(), shards: 3, token: TOKEN, emptied },
        NamespaceRestore::Open { id, token: TOKEN },
        NamespaceRestore::GiveUp { id },
    ]
}

fn access_changes() -> [AccessChange; 5] {
    let password = Some(Some(PasswordHash("$argon2id$".to_owned())));
    let change = UserChange { password, roles: Some(vec![role_name()]) };
    [
        AccessChange::CreateUser { user: user(), first: true },
        AccessChange::ChangeUser { user: user_name(), change },
        AccessChange::DeleteUser { user: user_name() },
        AccessChange::PutRole { role: role() },
        AccessChange::DeleteRole { role: role_name() },
    ]
}

fn owners() -> [QuotaOf; 2] {
    [QuotaOf::Namespace(namespace()), QuotaOf::User("ann@example.com".to_owned())]
}

fn ops() -> Vec<Op> {
    let [_, _, blocks, _] = restore_steps();
    let [begin, ..] = namespace_restores();
    let [create, ..] = access_changes();
    let [of_namespace, of_user] = owners();
    let (node, group) = (NodeId::new(300), GroupId::new(301));
    vec![
        Op::Gather {
            blocks: vec![GatheredBlock {
                topic: TopicId::new(4),
                first: 300,
                parts: vec![GatheredPart { index: 70_000, count: 2 }],
                fragment_bytes: 600,
            }],
        },
        Op::Restore(Box::new(Restore { token: TOKEN, number: 300, step: blocks })),
        Op::RestoreNamespace(Box::new(begin)),
        Op::Access(create),
        Op::PutQuota { of: of_namespace, quota: quota() },
        Op::DeleteQuota { of: of_user },
        Op::JoinNode { node: node_record(), zone: "west".to_owned(), new: true },
        Op::RemoveNode { node },
        Op::ForgetNode { node },
        Op::MoveGroup { group, from: vec![NodeId::new(1), node], to: vec![NodeId::new(1), NodeId::new(4)] },
        Op::GroupMoved { group, to: vec![NodeId::new(1), NodeId::new(4)] },
        Op::BeginDrain { node, lasts: Duration::from_millis(300_500) },
        Op::EndDrain { node },
    ]
}

fn of_shards() -> Vec<Shape> {
    let mut all = Vec::new();
    let parts = [(1, 1 << 40), (300, (1 << 40) + 5), (1, 1 << 41)];
    let times = Times::of(parts.map(|(count, at)| (count, Millis::new(at)))).unwrap();
    let bytes = rows::times::encode(&times);
    let key = RowKey::Times(TopicId::new(4), 70_000);
    all.extend(Shape::row((key, ""), times, bytes, rows::times::decode));
    let restoring = Restoring {
        token: TOKEN,
        next: 1 << 40,
        sessions_after: 300,
        producers: 7,
        hash: ContentHash::from_bytes([9; 16]),
        is_whole: true,
        is_broken: false,
    };
    let bytes = rows::restore::encode(&restoring);
    all.extend(Shape::row((RowKey::Restore, ""), restoring, bytes, rows::restore::decode));
    all
}

fn of_the_system() -> Vec<Shape> {
    let mut all = Vec::new();
    let key = RowKey::RestoredNamespace(NamespaceId::new(300));
    all.extend(Shape::row(
        (key, ""),
        TOKEN,
        rows::restore::encode_token(&TOKEN),
        rows::restore::decode_token,
    ));
    let key = RowKey::User(300);
    all.extend(Shape::row((key, ""), user(), rows::user::encode(&user()), rows::user::decode));
    let key = RowKey::Role(300);
    all.extend(Shape::row((key, ""), role(), rows::role::encode(&role()), rows::role::decode));
    for (name, of) in ["namespace", "user"].into_iter().zip(owners()) {
        let quota = (of, quota());
        let bytes = rows::quota::encode(&quota);
        all.extend(Shape::row((RowKey::Quota(300), name), quota, bytes, rows::quota::decode));
    }
    let node = NodeId::new(300);
    let place = NodePlace { zone: "west".to_owned(), leaving: true };
    let bytes = rows::place::encode(&place);
    all.extend(Shape::row((RowKey::Place(node), ""), place, bytes, rows::place::decode));
    let to = vec![NodeId::new(1), node];
    let bytes = rows::moving::encode(&to);
    all.extend(Shape::row((RowKey::Moving(GroupId::new(301)), ""), to, bytes, rows::moving::decode));
    let life = Incarnation::new(u64::MAX);
    let bytes = rows::removed::encode(&life);
    all.extend(Shape::row((RowKey::Removed(node), ""), life, bytes, rows::removed::decode));
    let drain = Drain { node, until: Millis::new(1 << 41) };
    let bytes = rows::drain::encode(&drain);
    all.extend(Shape::row((RowKey::Drain, ""), drain, bytes, rows::drain::decode));
    let fenced = [(2, Some([7; 16])), (300, None)]
        .map(|(id, instance)| (SessionId::new(id), Fenced { began: SessionId::new(1), instance }));
    let fenced = BTreeMap::from(fenced);
    let bytes = rows::fenced_producers::encode(&fenced);
    all.extend(Shape::row((RowKey::FencedProducers, ""), fenced, bytes, rows::fenced_producers::decode));
    all
}

pub(super) fn shapes() -> Vec<Shape> {
    let mut all: Vec<Shape> = ops().into_iter().map(|op| Shape::variant("op", op)).collect();
    let answer = Answer::Restored { next: 300, hash: ContentHash::from_bytes([9; 16]) };
    all.push(Shape::variant("answer", answer));
    all.extend(restore_steps().map(|step| Shape::variant("restore_step", step)));
    all.extend(namespace_restores().map(|restore| Shape::variant("namespace_restore", restore)));
    all.extend(access_changes().map(|change| Shape::variant("access", change)));
    all.extend(owners().map(|of| Shape::variant("quota_of", of)));
    all.extend(Permission::ALL.map(|permission| Shape::variant("permission", permission)));
    all.extend(of_shards());
    all.extend(of_the_system());
    all.extend(REASONS.iter().map(|code| {
        let reason = Reason::from_code(code).unwrap_or_else(|| panic!("the reason {code} is gone"));
        Shape::of("reason", 2, code, reason)
    }));
    all
}
