//! Quotas are state of group 0: set, replaced, taken away, bounded, and there again after a restart.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Driver;
use quorate_machine::{Answer, Effect, Op, Quota, QuotaOf};
use quorate_types::{GroupId, NamespaceName, Reason};

fn namespace(name: &str) -> QuotaOf {
    QuotaOf::Namespace(NamespaceName::parse(name).unwrap())
}

fn messages(per_second: u64) -> Quota {
    Quota { messages_per_second: Some(per_second), ..Quota::default() }
}

fn refused(driver: &mut Driver, of: QuotaOf, quota: Quota) -> Option<Reason> {
    common::reason(&driver.lead(Op::PutQuota { of, quota }).0)
}

#[test]
fn a_quota_is_replaced_and_taken_away_and_survives_a_restart() {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.raise();
    let user = QuotaOf::User("anna".to_owned());
    assert_eq!(refused(&mut driver, namespace("shop"), messages(10)), None);
    assert_eq!(refused(&mut driver, user.clone(), messages(5)), None);
    assert_eq!(refused(&mut driver, namespace("shop"), messages(20)), None);
    let quotas =
        |driver: &Driver| driver.reloaded().system().unwrap().quotas().into_iter().collect::<Vec<_>>();
    assert_eq!(quotas(&driver), [(namespace("shop"), messages(20)), (user.clone(), messages(5))]);
    // What is not there any more is gone, and its number is used again.
    for _ in 0..2 {
        assert!(driver.lead(Op::DeleteQuota { of: namespace("shop") }).0.is_ok());
    }
    assert_eq!(quotas(&driver), [(user, messages(5))]);
    assert_eq!(refused(&mut driver, namespace("a"), messages(1)), None);
    assert_eq!(quotas(&driver).len(), 2);
}

#[test]
fn what_is_no_quota_is_refused_and_so_is_one_too_many() {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.raise();
    let mut refused = |of, quota| refused(&mut driver, of, quota);
    assert_eq!(refused(namespace("a"), Quota::default()), Some(Reason::InvalidArgument));
    assert_eq!(refused(namespace("a"), messages(0)), Some(Reason::InvalidArgument));
    assert_eq!(refused(QuotaOf::User(String::new()), messages(1)), Some(Reason::InvalidArgument));
    assert_eq!(refused(QuotaOf::User("x".repeat(256)), messages(1)), Some(Reason::InvalidArgument));
    for number in 0..Quota::COUNT_MAX {
        assert_eq!(refused(namespace(&format!("n{number}")), messages(1)), None);
    }
    assert_eq!(refused(namespace("more"), messages(1)), Some(Reason::LimitReached));
    assert_eq!(refused(namespace("n7"), messages(2)), None, "one that is there is replaced");
}

#[test]
fn whoever_holds_others_to_quotas_is_told_that_they_changed() {
    let mut driver = Driver::new(GroupId::SYSTEM);
    driver.raise();
    let of = namespace("shop");
    for op in [Op::PutQuota { of: of.clone(), quota: messages(1) }, Op::DeleteQuota { of: of.clone() }] {
        assert_eq!(driver.lead(op), (Ok(Answer::Done), vec![Effect::PlacementChanged]));
    }
    assert_eq!(driver.lead(Op::DeleteQuota { of }), (Ok(Answer::Done), vec![]), "there was none any more");
}
