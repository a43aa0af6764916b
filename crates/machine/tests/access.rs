//! Users and roles in the system group.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Driver;
use quorate_machine::{
    AccessChange, Answer, Effect, Grant, Machine, Op, PasswordHash, Reply, RoleRecord, UserChange, UserRecord,
};
use quorate_types::{Filter, GroupId, Permission, Reason, RoleName, UserName};

fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn roles(names: &[&str]) -> Vec<RoleName> {
    names.iter().map(|name| RoleName::parse(name).unwrap()).collect()
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash(format!("$argon2id${text}"))
}

fn create(user: &str, of: &[&str], first: bool) -> Op {
    let user = UserRecord { name: name(user), password: Some(hash(user)), roles: roles(of) };
    Op::Access(AccessChange::CreateUser { user, first })
}

fn put(role: &str, grants: usize) -> Op {
    let grant = Grant {
        permissions: vec![Permission::Publish],
        namespace: None,
        names: Filter::parse("orders.#").unwrap(),
    };
    let role = RoleRecord { name: roles(&[role])[0].clone(), grants: vec![grant; grants] };
    Op::Access(AccessChange::PutRole { role })
}

fn alter(user: &str, change: UserChange) -> Op {
    Op::Access(AccessChange::ChangeUser { user: name(user), change })
}

fn delete_user(user: &str) -> Op {
    Op::Access(AccessChange::DeleteUser { user: name(user) })
}

fn delete_role(role: &str) -> Op {
    Op::Access(AccessChange::DeleteRole { role: roles(&[role])[0].clone() })
}

/// A system group that decides by the version with users.
fn system() -> Driver {
    let mut driver = Driver::new(GroupId::SYSTEM);
    assert_eq!(driver.lead(create("ann", &[], false)).0.unwrap_err().reason, Reason::Upgrading);
    driver.lead(Op::RaiseVersion { to: Machine::VERSION }).0.unwrap();
    driver
}

fn reason(reply: Reply) -> Reason {
    reply.unwrap_err().reason
}

#[test]
fn users_have_roles_that_are_there_and_roles_stay_while_users_have_them() {
    let mut driver = system();
    let mut ask = |op| driver.lead(op).0;
    assert_eq!(reason(ask(create("ann", &["clerk"], false))), Reason::RoleNotFound);
    assert_eq!(ask(put("clerk", 1)), Ok(Answer::Done));
    assert_eq!(ask(create("ann", &["clerk", "admin"], false)), Ok(Answer::Done));
    assert_eq!(reason(ask(create("ann", &[], false))), Reason::UserExists);
    assert_eq!(reason(ask(delete_role("clerk"))), Reason::RoleInUse);
    assert_eq!(reason(ask(delete_role("admin"))), Reason::RoleInUse);
    assert_eq!(reason(ask(put("admin", 1))), Reason::InvalidArgument);
    assert_eq!(reason(ask(put("many", 101))), Reason::LimitReached);
    let change = UserChange { password: Some(None), roles: Some(roles(&["nobody"])) };
    assert_eq!(reason(ask(alter("ann", change))), Reason::RoleNotFound);
    let change = UserChange { password: None, roles: Some(Vec::new()) };
    assert_eq!(ask(alter("ann", change.clone())), Ok(Answer::Done));
    assert_eq!(reason(ask(alter("bob", change))), Reason::UserNotFound);
    let change = UserChange { password: Some(Some(PasswordHash("plain text".to_owned()))), roles: None };
    assert_eq!(reason(ask(alter("ann", change))), Reason::InvalidArgument);
    assert_eq!(ask(delete_role("clerk")), Ok(Answer::Done));
    assert_eq!(reason(ask(delete_role("clerk"))), Reason::RoleNotFound);
    let user = driver.machine.system().unwrap().users().remove(0);
    assert_eq!(user, UserRecord { name: name("ann"), password: Some(hash("ann")), roles: Vec::new() });
}

#[test]
fn a_first_user_is_made_only_while_there_is_none() {
    let mut driver = system();
    let mut ask = |op| driver.lead(op).0;
    assert_eq!(ask(create("admin", &["admin"], true)), Ok(Answer::Done));
    assert_eq!(reason(ask(create("second", &["admin"], true))), Reason::UserExists);
    assert_eq!(ask(delete_user("admin")), Ok(Answer::Done));
    assert_eq!(reason(ask(delete_user("admin"))), Reason::UserNotFound);
    assert_eq!(ask(create("admin", &["admin"], true)), Ok(Answer::Done));
}

#[test]
fn nodes_hear_of_changes_and_what_is_loaded_is_what_was_there() {
    let mut driver = system();
    for op in
        [put("clerk", 2), put("ops", 1), create("ann", &["clerk"], false), create("bob", &["ops"], false)]
    {
        let (reply, effects) = driver.lead(op);
        assert_eq!((reply, effects), (Ok(Answer::Done), vec![Effect::PlacementChanged]));
    }
    driver.lead(delete_user("ann")).0.unwrap();
    driver.lead(create("cid", &["clerk"], false)).0.unwrap();
    let loaded = Machine::load(GroupId::SYSTEM, driver.machine.image()).unwrap();
    assert_eq!(loaded.image(), driver.machine.image());
    assert_eq!(loaded.system().unwrap().users(), driver.machine.system().unwrap().users());
    assert_eq!(loaded.system().unwrap().roles(), driver.machine.system().unwrap().roles());
    // What was written row by row is the same as all of it at once.
    let mut rows = std::collections::BTreeMap::new();
    for (key, value) in driver.machine.take_changes() {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), driver.machine.image());
}
