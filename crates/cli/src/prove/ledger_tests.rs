//! Each way of breaking the promise is noticed, and what is allowed is not called a breach.

use super::*;

fn sent(ledger: &mut Ledger, publisher: u32, count: u64) -> Vec<Key> {
    (0..count).map(|_| ledger.send(publisher).unwrap()).collect()
}

fn seen(key: Key, offset: u64, attempt: u32, attachment: u32) -> Seen {
    Seen { key, offset, attempt, attachment }
}

/// Three messages of one publisher, confirmed at offsets 0 to 2, in a subscription with one consumer.
fn three() -> (Ledger, Vec<Key>) {
    let mut ledger = Ledger::new(1, &[true]);
    let keys = sent(&mut ledger, 0, 3);
    for (offset, &key) in (0..).zip(&keys) {
        ledger.answered(key, Outcome::Confirmed { offset });
    }
    (ledger, keys)
}

fn deliver_all(ledger: &mut Ledger, keys: &[Key]) {
    for (offset, &key) in (0..).zip(keys) {
        ledger.delivered(0, seen(key, offset, 1, 1));
        ledger.acked(0, key, 1);
        ledger.read_back(key, offset);
    }
}

#[test]
fn faultless_run_has_no_violation() {
    let (mut ledger, keys) = three();
    assert_eq!(ledger.outstanding(), 3);
    deliver_all(&mut ledger, &keys);
    assert_eq!(ledger.outstanding(), 0);
    let (counts, violations) = ledger.close(false);
    assert_eq!(violations, Violations::default());
    assert_eq!((counts.sent, counts.confirmed, counts.delivered, counts.acked), (3, 3, 3, 3));
}

#[test]
fn confirmed_message_that_never_comes_is_lost() {
    let (mut ledger, keys) = three();
    deliver_all(&mut ledger, &keys[..2]);
    let (_, violations) = ledger.close(false);
    assert_eq!((violations.lost_undelivered, violations.lost_stored), (1, 1));
    assert_eq!(violations.lost(), 2);
}

#[test]
fn delivery_before_the_confirm_counts() {
    let mut ledger = Ledger::new(1, &[true]);
    let key = ledger.send(0).unwrap();
    ledger.delivered(0, seen(key, 0, 1, 1));
    ledger.answered(key, Outcome::Confirmed { offset: 0 });
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn message_at_two_offsets_is_stored_twice() {
    let (mut ledger, keys) = three();
    deliver_all(&mut ledger, &keys);
    ledger.read_back(keys[1], 3);
    ledger.read_back(keys[1], 4);
    assert_eq!(ledger.close(false).1, Violations { stored_twice: 1, ..Violations::default() });
}

#[test]
fn two_messages_at_one_offset_clash() {
    let (mut ledger, keys) = three();
    ledger.read_back(keys[2], 1);
    assert_eq!(ledger.violations().offset_clash, 1);
}

#[test]
fn offset_far_beyond_what_was_sent_is_refused_not_allocated() {
    let (mut ledger, keys) = three();
    ledger.delivered(0, seen(keys[0], u64::MAX - 1, 1, 1));
    assert_eq!(ledger.violations().offset_clash, 1);
}

#[test]
fn redelivery_of_an_unacked_message_is_allowed_and_counted() {
    let (mut ledger, keys) = three();
    ledger.delivered(0, seen(keys[0], 0, 1, 1));
    ledger.delivered(0, seen(keys[0], 0, 2, 2));
    ledger.acked(0, keys[0], 2);
    assert_eq!(ledger.counts().redelivered, 1);
    assert_eq!(*ledger.violations(), Violations::default());
}

#[test]
fn older_attempt_that_arrives_after_the_ack_is_allowed() {
    let (mut ledger, keys) = three();
    ledger.delivered(0, seen(keys[0], 0, 2, 2));
    ledger.acked(0, keys[0], 2);
    ledger.delivered(0, seen(keys[0], 0, 1, 1));
    assert_eq!(*ledger.violations(), Violations::default());
}

#[test]
fn newer_attempt_after_a_committed_ack_is_a_breach() {
    let (mut ledger, keys) = three();
    deliver_all(&mut ledger, &keys);
    ledger.delivered(0, seen(keys[0], 0, 2, 2));
    ledger.delivered(0, seen(keys[0], 0, 3, 2));
    assert_eq!(ledger.violations().delivered_after_ack, 1, "counted once per message");
}

#[test]
fn ack_that_commits_although_a_newer_attempt_went_out_is_a_breach() {
    let (mut ledger, keys) = three();
    ledger.delivered(0, seen(keys[0], 0, 1, 1));
    ledger.delivered(0, seen(keys[0], 0, 2, 2));
    ledger.acked(0, keys[0], 1);
    assert_eq!(ledger.violations().delivered_after_ack, 1);
}

#[test]
fn one_attempt_for_two_consumers_is_leased_twice() {
    let (mut ledger, keys) = three();
    ledger.delivered(0, seen(keys[0], 0, 1, 1));
    ledger.delivered(0, seen(keys[0], 0, 1, 2));
    assert_eq!(ledger.violations().leased_twice, 1);
}

#[test]
fn first_deliveries_of_one_publisher_must_be_in_order() {
    let (mut ledger, keys) = three();
    for i in [0, 2, 1] {
        ledger.delivered(0, seen(keys[i], i as u64, 1, 1));
        ledger.read_back(keys[i], i as u64);
    }
    assert_eq!(ledger.close(false).1, Violations { out_of_order: 1, ..Violations::default() });
}

#[test]
fn order_is_asked_of_exclusive_subscriptions_and_confirmed_messages_only() {
    let mut ledger = Ledger::new(2, &[false, true]);
    let a = sent(&mut ledger, 0, 2);
    let b = sent(&mut ledger, 1, 2);
    ledger.answered(a[0], Outcome::Confirmed { offset: 0 });
    ledger.answered(a[1], Outcome::Confirmed { offset: 1 });
    ledger.answered(b[0], Outcome::Unknown);
    ledger.answered(b[1], Outcome::Confirmed { offset: 2 });
    for (key, offset) in [(a[1], 1), (a[0], 0), (b[1], 2)] {
        ledger.delivered(0, seen(key, offset, 1, 1));
    }
    for (key, offset) in [(a[0], 0), (b[1], 2), (a[1], 1), (b[0], 3)] {
        ledger.delivered(1, seen(key, offset, 1, 2));
        ledger.read_back(key, offset);
    }
    assert_eq!(ledger.close(false).1, Violations::default());
}

#[test]
fn refused_message_that_appears_is_a_phantom_and_an_unknown_one_is_not() {
    let mut ledger = Ledger::new(1, &[true]);
    let keys = sent(&mut ledger, 0, 2);
    ledger.answered(keys[0], Outcome::Refused);
    ledger.answered(keys[1], Outcome::Unknown);
    ledger.delivered(0, seen(keys[0], 0, 1, 1));
    ledger.delivered(0, seen(keys[1], 1, 1, 1));
    let (counts, violations) = ledger.close(false);
    assert_eq!(violations, Violations { phantom: 1, ..Violations::default() });
    assert_eq!((counts.refused, counts.unknown), (1, 1));
}

#[test]
fn message_that_nobody_sent_is_corrupt() {
    let (mut ledger, _) = three();
    ledger.delivered(0, seen(Key { publisher: 9, sequence: 0 }, 0, 1, 1));
    ledger.read_back(Key { publisher: 0, sequence: 99 }, 0);
    ledger.corrupt();
    assert_eq!(ledger.violations().corrupt, 3);
}
