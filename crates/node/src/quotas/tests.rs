//! Who may do how much.

use super::*;
use tokio::time::advance;

fn shop() -> QuotaOf {
    QuotaOf::Namespace(NamespaceName::parse("shop").unwrap())
}

fn anna() -> QuotaOf {
    QuotaOf::User("anna".to_owned())
}

fn rates(messages: Option<u64>, bytes: Option<u64>) -> Quota {
    Quota { messages_per_second: messages, bytes_per_second: bytes, streams_max: None }
}

fn wait(outcome: Result<(), Exceeded>) -> u128 {
    outcome.map_or_else(|exceeded| exceeded.wait.as_millis(), |()| 0)
}

#[tokio::test(start_paused = true)]
async fn the_tightest_quota_of_namespace_and_user_decides_and_what_is_refused_counts_for_none() {
    let quotas = Quotas::default();
    let both = [shop(), anna()];
    assert_eq!(quotas.publish(&both, u64::MAX, u64::MAX), Ok(()), "without quotas everything goes");
    quotas.set([(shop(), rates(Some(10), None)), (anna(), rates(None, Some(1_000)))].into());
    assert_eq!(wait(quotas.publish(&both, 1, 3_000)), 0);
    let exceeded = quotas.publish(&both, 1, 1).unwrap_err();
    assert_eq!((exceeded.wait.as_millis(), exceeded.refusal.reason), (2_000, Reason::QuotaExceeded));
    assert!(exceeded.refusal.message.contains("user anna may publish 1000 bytes a second"), "{exceeded:?}");
    // Another user of the namespace has what anna did not use.
    assert_eq!(wait(quotas.publish(&[shop()], 19, 1)), 0);
    assert_eq!(wait(quotas.publish(&[shop()], 1, 1)), 1_000);
    advance(Duration::from_millis(2_000)).await;
    assert_eq!(wait(quotas.publish(&both, 1, 1)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_changes_goes_on_with_what_went_through() {
    let quotas = Quotas::default();
    quotas.set([(shop(), rates(Some(1), None))].into());
    assert_eq!(wait(quotas.publish(&[shop()], 11, 0)), 0);
    assert_eq!(wait(quotas.publish(&[shop()], 1, 0)), 10_000);
    quotas.set([(shop(), rates(Some(1), Some(1))), (anna(), rates(Some(1), None))].into());
    assert_eq!(wait(quotas.publish(&[shop()], 1, 0)), 10_000);
    quotas.set(BTreeMap::new());
    assert_eq!(wait(quotas.publish(&[shop()], 1, 0)), 0);
}

#[test]
fn a_stream_that_is_one_too_many_is_refused_until_another_ends() {
    let quotas = Quotas::default();
    let before = quotas.open(vec![shop()]).unwrap();
    quotas.set([(shop(), Quota { streams_max: Some(2), ..Quota::default() })].into());
    let second = quotas.open(vec![shop(), anna()]).unwrap();
    let refused = quotas.open(vec![shop()]).unwrap_err();
    assert_eq!(refused.reason, Reason::QuotaExceeded);
    assert!(refused.message.contains("namespace shop has 2 streams"), "{refused}");
    drop(before);
    let third = quotas.open(vec![shop()]).unwrap();
    drop((second, third));
    assert!(quotas.lock().streams.is_empty());
}
