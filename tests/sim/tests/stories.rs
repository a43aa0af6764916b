//! What has to be met at a certain moment.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::turn;
use futures::future::join_all;
use quorate_client::{
    CallError, Client, ConsumeError, ConsumerOptions, Message, PeekOptions, PeekedState, ProducerOptions,
    PublishError, PublisherOptions, ReadFrom, ReadOptions, Reason, Receipt, RequestError, SeekTo, Start, v1,
};
use quorate_sim::Story;
use quorate_types::{GroupId, LogId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Publishes so many messages, and answers the offset of the last.
async fn publish(client: Client, count: u32) -> Result<u64, PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut last = 0;
    for _ in 0..count {
        last = publisher.publish("t", Message::new("x")).await?.offset;
    }
    Ok(last)
}

/// A topic that keeps everything.
fn kept() -> v1::TopicConfig {
    v1::TopicConfig { retention_bytes: Some(1 << 40), ..Default::default() }
}

#[test]
fn an_offset_that_only_a_lagging_replica_does_not_know_is_waited_for() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(async |client: Client| client.create_topic("t", kept()).await).unwrap();
        story.work(|client| publish(client, 1)).unwrap();
        let leader = story.leader(GroupId::new(1)).unwrap();
        let behind = (1..=3).find(|node| *node != leader).unwrap();
        story.cut_off(behind, true);
        let last = story.work(|client| publish(client, 10)).unwrap();
        let reading = story.begin(Some(behind), async move |client| {
            let options = ReadOptions { from: ReadFrom::Offset(last), ..Default::default() };
            let mut reader = client.read("t", options);
            let mut offsets = Vec::new();
            while let Some(message) = reader.next().await {
                offsets.push(message.unwrap().offset);
            }
            offsets
        });
        story.pass(Duration::from_millis(500));
        story.cut_off(behind, false);
        assert_eq!(story.finish(&reading), [last]);
    };
    Story::tell(1, |_| {}, tale);
}

/// Of the two that are left, the one that stands first has less in its log: it cannot win, but has voted for itself.
#[test]
fn a_voter_with_less_in_its_log_that_stands_first_delays_an_election_only_little() {
    let _turn = turn();
    let tale = |story: &mut Story| {
        story.work(async |client| client.create_topic("t", v1::TopicConfig::default()).await).unwrap();
        let publishing = story.begin(None, |client| publish_steadily(client, 200));
        story.pass(Duration::from_millis(200));
        let shard = GroupId::new(1);
        let leader = story.leader(shard).unwrap();
        let first = (1..=3).find(|node| *node != leader).unwrap();
        story.cut(leader, first, true);
        story.pass(Duration::from_millis(20));
        story.kill(leader);
        let killed = story.now();
        story.wait(|story| story.leader(shard).is_some());
        let without = story.now() - killed;
        // Half a second until the connection is seen to be broken, and much less than a lease.
        assert!(without < Duration::from_millis(900), "nobody led for {without:?}");
        story.cut(leader, first, false);
        story.start(leader);
        story.finish(&publishing).unwrap();
    };
    // Long enough that nobody misses the leader before its end.
    let as_in_production = |config: &mut quorate_node::Config| {
        let defaults = quorate_consensus::ConsensusOptions::default();
        config.consensus.heartbeat_interval = defaults.heartbeat_interval;
        config.consensus.election_timeout_min = defaults.election_timeout_min;
        config.consensus.election_timeout_max = defaults.election_timeout_max;
    };
    (1..=5).for_each(|seed| Story::tell(seed, as_in_production, tale));
}

/// Publishes so many messages, some every few milliseconds, whoever dies meanwhile.
async fn publish_steadily(client: Client, count: u64) -> Result<(), PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    for at in 0..count {
        drop(publisher.send("t", Message::new(at.to_le_bytes().to_vec())).await?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publisher.flush().await;
    Ok(())
}

/// What a slow consumer has seen: whose payload, which attempt, when.
#[derive(Default)]
struct Seen {
    node: Cell<u64>,
    first: RefCell<Vec<u64>>,
    redelivered: Cell<u64>,
}

/// Takes one message after the other, with more in hand all the time, until it has had so many different ones.
async fn consume_slowly(client: Client, seen: Rc<Seen>, count: usize) -> Result<(), ConsumeError> {
    let mut consumer =
        client.consume("s", ConsumerOptions { credit: 100, ..ConsumerOptions::default() }).await?;
    let attachment = consumer.attachment();
    while seen.first.borrow().len() < count {
        let Some(delivery) = consumer.next().await.transpose()? else { return Ok(()) };
        seen.node.set(attachment.borrow().node);
        let payload = delivery.message.payload[..].try_into().unwrap();
        let number = u64::from_le_bytes(payload);
        if seen.first.borrow().contains(&number) {
            seen.redelivered.set(seen.redelivered.get() + 1);
        } else {
            seen.first.borrow_mut().push(number);
        }
        drop(delivery.ack());
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    Ok(())
}

/// A consumer whose node is taken away by `lose` gets all messages in order, and long before the node is taken for dead.
fn tell_of_a_lost_node(seed: u64, within: Duration, lose: fn(&mut Story, u64)) {
    const COUNT: u64 = 400;
    let long = |config: &mut quorate_node::Config| config.session_timeout = Duration::from_secs(10);
    Story::tell(seed, long, move |story| {
        story
            .work(async |client: Client| {
                client.create_topic("t", v1::TopicConfig::default()).await?;
                client.create_subscription("s", v1::SubscriptionConfig::default(), &[("t", "#")]).await
            })
            .unwrap();
        let seen = Rc::new(Seen::default());
        let noted = Rc::clone(&seen);
        let consuming =
            story.begin(None, move |client| consume_slowly(client, noted, usize::try_from(COUNT).unwrap()));
        let publishing = story.begin(None, |client| publish_steadily(client, COUNT));
        story.wait(|_| seen.first.borrow().len() >= 100);
        let node = seen.node.get();
        lose(story, node);
        let lost = seen.first.borrow().len();
        let before = story.now();
        story.wait(|_| seen.first.borrow().len() > lost + 100);
        let gap = story.now() - before;
        assert_ne!(seen.node.get(), node);
        story.finish(&publishing).unwrap();
        story.finish(&consuming).unwrap();
        let misplaced =
            (0..COUNT).zip(&*seen.first.borrow()).find(|(at, number)| at != *number).map(|(at, _)| at);
        assert_eq!(misplaced, None, "first deliveries are in order");
        assert!(gap < within, "{gap:?}");
        println!("seed {seed}: {gap:?} for 100 messages, {} came again", seen.redelivered.get());
    });
}

#[test]
fn rule_5_a_consumer_whose_node_dies_gets_its_messages_in_order_and_soon() {
    let _turn = turn();
    // One of them was attached to the leader, others were not.
    let within = Duration::from_secs(4);
    (1..=4).for_each(|seed| tell_of_a_lost_node(seed, within, Story::kill));
}

#[test]
fn rule_5_a_consumer_whose_node_is_cut_off_gets_its_messages_in_order_and_soon() {
    let _turn = turn();
    // It may deliver for half a session timeout (5 s) more.
    let within = Duration::from_secs(8);
    (1..=2).for_each(|seed| tell_of_a_lost_node(seed, within, |story, node| story.cut_off(node, true)));
}

/// Every second message is for the late subscription.
fn subject(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "even" } else { "odd" }
}

async fn publish_both(client: Client, numbers: std::ops::Range<u64>) -> Result<(), PublishError> {
    let publisher = client.publisher(PublisherOptions::default());
    for number in numbers {
        let message = Message::new(number.to_le_bytes().to_vec()).subject(subject(number));
        drop(publisher.send("t", message).await?);
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    publisher.flush().await;
    Ok(())
}

async fn numbers(client: Client, subscription: &'static str, count: usize) -> Result<Vec<u64>, ConsumeError> {
    let mut consumer = client.consume(subscription, ConsumerOptions::default()).await?;
    let mut got = Vec::new();
    while got.len() < count {
        let Some(delivery) = consumer.next().await.transpose()? else { break };
        if delivery.attempt == 1 {
            got.push(u64::from_le_bytes(delivery.message.payload[..].try_into().unwrap()));
        }
        drop(delivery.ack());
    }
    consumer.close().await;
    Ok(got)
}

#[test]
fn a_late_subscription_gets_everything_once_and_in_order_when_the_leader_dies() {
    const BEFORE: u64 = 25_000;
    const ALL: u64 = 26_000;
    let _turn = turn();
    Story::tell(
        1,
        |_| {},
        |story| {
            story.work(async |client: Client| client.create_topic("t", kept()).await).unwrap();
            story.work(|client| publish_both(client, 0..BEFORE)).unwrap();
            let publishing = story.begin(None, |client| publish_both(client, BEFORE..ALL));
            story
                .work(async |client: Client| {
                    let (config, bindings) = (v1::SubscriptionConfig::default(), [("t", "even")]);
                    client.create_subscription_from("s", config.clone(), &bindings, Start::Earliest).await?;
                    client.create_subscription_from("all", config, &[("t", "#")], Start::Offset(100)).await
                })
                .unwrap();
            let leader = story.leader(GroupId::new(1)).unwrap();
            story.kill(leader);
            let wanted: Vec<u64> = (0..ALL).filter(|number| number.is_multiple_of(2)).collect();
            let count = wanted.len();
            assert_eq!(story.work(move |client| numbers(client, "s", count)).unwrap(), wanted);
            let rest = usize::try_from(ALL - 100).unwrap();
            let all = story.work(move |client| numbers(client, "all", rest)).unwrap();
            assert_eq!(all, (100..ALL).collect::<Vec<_>>());
            story.finish(&publishing).unwrap();
        },
    );
}

#[test]
fn a_subscription_that_is_moved_gets_everything_once_and_in_order_when_the_leader_dies_meanwhile() {
    const ALL: u64 = 40_000;
    const BEGIN: u64 = 1_000;
    const HELD: usize = 500;
    let _turn = turn();
    Story::tell(
        3,
        |_| {},
        |story| {
            story
                .work(async |client: Client| {
                    client.create_topic("t", kept()).await?;
                    // Subjects decide: the leader looks into the messages, and goes on where the former one was.
                    client.create_subscription("s", v1::SubscriptionConfig::default(), &[("t", "even")]).await
                })
                .unwrap();
            story.work(|client| publish_both(client, 0..ALL)).unwrap();
            let (sought, moved) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let (told, purged) = (Rc::clone(&sought), Rc::clone(&moved));
            let consuming = story.begin(None, async move |client: Client| {
                let mut consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
                let mut held = Vec::new();
                while held.len() < HELD {
                    held.push(consumer.next().await.unwrap().unwrap());
                }
                // Half of them are done with; the others are in hand when the subscription is moved.
                for delivery in held.drain(..HELD / 2) {
                    delivery.ack().await.unwrap();
                }
                client.mark_subscription("s", "half").await.unwrap();
                purged.set(client.seek_subscription("s", SeekTo::Offset(BEGIN)).await.unwrap());
                let described = client.describe_subscription("s").await.unwrap();
                assert!(!described.catching_up.is_empty(), "the seek goes on");
                told.set(true);
                for delivery in held {
                    assert!(delivery.ack().await.is_err(), "its lease ended with the seek");
                }
                let (before, count) = (ALL / 2, usize::try_from((ALL - BEGIN) / 2).unwrap());
                let (mut got, mut seen) = (Vec::new(), BTreeSet::new());
                while got.len() < count {
                    let delivery = consumer.next().await.unwrap().unwrap();
                    if delivery.position >= before && seen.insert(delivery.offset) {
                        got.push(delivery.offset);
                    }
                    drop(delivery.ack());
                }
                consumer.close().await;
                (got, client.describe_subscription("s").await.unwrap())
            });
            story.wait(|_| sought.get());
            let leader = story.leader(GroupId::new(1)).unwrap();
            story.kill(leader);
            let (got, described) = story.finish(&consuming);
            assert_eq!(got, (BEGIN..ALL).filter(|offset| offset.is_multiple_of(2)).collect::<Vec<_>>());
            assert_eq!(moved.get(), ALL / 2 - HELD as u64 / 2, "all that was not acked");
            let marks: Vec<_> =
                described.marks.iter().map(|mark| (mark.name.as_str(), mark.topics[0].offset)).collect();
            assert_eq!(marks, [("half", HELD as u64)], "every second message is the subscription's");
            let ledger = described.subscription.unwrap().ledger.unwrap();
            assert_eq!(ledger.routed, ALL / 2 + (ALL - BEGIN) / 2);
            assert_eq!(ledger.purged, moved.get());
        },
    );
}

#[test]
fn what_is_in_a_subscription_and_where_a_message_is_can_be_seen_through_every_node() {
    const LARGE: usize = 300_000;
    let _turn = turn();
    Story::tell(
        4,
        |_| {},
        |story| {
            let holding = story.work(async |client: Client| {
                client.create_topic("t", v1::TopicConfig::default()).await.unwrap();
                for (name, filter) in [("s", "#"), ("odd", "odd")] {
                    let config = v1::SubscriptionConfig::default();
                    client.create_subscription(name, config, &[("t", filter)]).await.unwrap();
                }
                let publisher = client.publisher(PublisherOptions::default());
                for number in 0..8_u64 {
                    let message = Message::new(vec![1; LARGE]).subject(subject(number)).key(subject(number));
                    publisher.publish("t", message).await.unwrap();
                }
                let options = ConsumerOptions { credit: 3, ..ConsumerOptions::default() };
                let mut consumer = client.consume("s", options).await.unwrap();
                for _ in 0..3 {
                    let delivery = consumer.next().await.unwrap().unwrap();
                    match delivery.offset {
                        0 => delivery.ack().await.unwrap(),
                        1 => delivery.nack_after(Duration::from_secs(600)).await.unwrap(),
                        _ => {}
                    }
                }
                let holder = consumer.attachment().borrow().consumer.clone();
                (Rc::new(consumer), holder)
            });
            let (consumer, holder) = holding;
            for node in 1..=3 {
                let holder = holder.clone();
                let looking = story.begin(Some(node), async move |client: Client| {
                    let mut seen = Vec::new();
                    let mut next = Some(0);
                    let mut pages = 0;
                    while let Some(position) = next {
                        let options = PeekOptions { position, linearizable: true, ..Default::default() };
                        let page = client.peek("s", options).await.unwrap();
                        seen.extend(page.messages);
                        next = page.next_position;
                        pages += 1;
                    }
                    assert!(pages > 1, "a response has 1 MiB");
                    let states: Vec<&str> = seen
                        .iter()
                        .map(|peeked| match &peeked.state {
                            PeekedState::Ready => "ready",
                            PeekedState::Delayed { .. } => "delayed",
                            PeekedState::Leased { consumer, .. } if *consumer == holder => "leased",
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    assert_eq!(states, ["delayed", "leased", "leased", "leased", "ready", "ready", "ready"]);
                    let positions: Vec<(u64, u64)> =
                        seen.iter().map(|p| (p.position, p.stored.offset)).collect();
                    assert_eq!(positions, (1..8).map(|n| (n, n)).collect::<Vec<_>>());
                    assert!(seen.iter().all(|peeked| peeked.stored.message.payload.len() == LARGE));
                    let states = vec![v1::PeekState::Delayed];
                    let delayed = PeekOptions { states, linearizable: true, ..Default::default() };
                    assert_eq!(client.peek("s", delayed).await.unwrap().messages.len(), 1);

                    let traced = client.trace("t", 1, true).await.unwrap();
                    assert_eq!(traced.message.unwrap().message.subject, "odd");
                    let outcomes: Vec<_> = traced
                        .routes
                        .iter()
                        .map(|r| (r.subscription.as_str(), r.outcome, r.places.len()))
                        .collect();
                    let unsettled = v1::TraceOutcome::Unsettled;
                    assert_eq!(outcomes, [("odd", unsettled, 1), ("s", unsettled, 1)]);
                    let gone = client.trace("t", 0, true).await.unwrap();
                    assert_eq!(gone.message, None);
                    let [odd, ended] = &gone.routes[..] else { panic!("two are bound: {:?}", gone.routes) };
                    assert_eq!((odd.outcome, odd.ended.len()), (v1::TraceOutcome::Gone, 0), "never routed");
                    let acked = &ended.ended[0];
                    assert_eq!((ended.outcome, acked.how()), (v1::TraceOutcome::Ended, v1::EndedHow::Acked));
                    assert_eq!((acked.attempts, acked.consumer.as_str()), (1, holder.as_str()));
                    assert!(gone.remembers_since.get() < acked.at_ms);
                    let beyond = client.trace("t", 8, true).await.unwrap_err();
                    assert!(matches!(beyond, CallError::Refused(r) if r.reason == Reason::OffsetOutOfRange));

                    let key = Some("odd".into());
                    let options =
                        ReadOptions { key, limit: Some(3), linearizable: true, ..Default::default() };
                    let mut reader = client.read("t", options);
                    let mut offsets = Vec::new();
                    while let Some(stored) = reader.next().await {
                        offsets.push(stored.unwrap().offset);
                    }
                    assert_eq!(offsets, [1, 3, 5]);
                });
                story.finish(&looking);
            }
            drop(consumer);
        },
    );
}

#[test]
fn of_a_failover_subscription_the_next_consumer_takes_over_and_of_an_exclusive_one_it_waits() {
    let _turn = turn();
    Story::tell(
        2,
        |_| {},
        |story| {
            story
                .work(async |client: Client| {
                    client.create_topic("t", v1::TopicConfig::default()).await?;
                    for (name, kind) in
                        [("f", v1::SubscriptionKind::Failover), ("x", v1::SubscriptionKind::Exclusive)]
                    {
                        let config = v1::SubscriptionConfig { kind: kind.into(), ..Default::default() };
                        client.create_subscription(name, config, &[("t", "#")]).await?;
                    }
                    Ok::<_, CallError>(())
                })
                .unwrap();
            let line = story.work(async |client: Client| {
                let options = |priority| ConsumerOptions { priority, ..ConsumerOptions::default() };
                let mut first = client.consume("f", options(0)).await.unwrap();
                let mut second = client.consume("f", options(0)).await.unwrap();
                let third = client.consume("f", options(-1)).await.unwrap();
                let publisher = client.publisher(PublisherOptions::default());
                publisher.publish("t", Message::new("one")).await.unwrap();
                let one = first.next().await.unwrap().unwrap();
                one.ack().await.unwrap();
                let described = client.describe_subscription("f").await.unwrap();
                let line: Vec<(String, bool)> =
                    described.consumers.into_iter().map(|c| (c.consumer, c.active)).collect();
                let name =
                    |consumer: &quorate_client::Consumer| consumer.attachment().borrow().consumer.clone();
                assert_eq!(line, [(name(&first), true), (name(&second), false), (name(&third), false)]);
                first.close().await;
                publisher.publish("t", Message::new("two")).await.unwrap();
                let two = second.next().await.unwrap().unwrap();
                assert_eq!((two.position, two.attempt), (1, 1));

                let only = client.consume("x", options(0)).await.unwrap();
                let refused = client.consume("x", options(9)).await.err();
                only.close().await;
                let mut next = client.consume("x", options(0)).await.unwrap();
                assert_eq!(next.next().await.unwrap().unwrap().position, 0);
                refused
            });
            let refused = line.and_then(|error| match error {
                ConsumeError::Refused(refusal) => Some(refusal.reason),
                _ => None,
            });
            assert_eq!(refused, Some(Reason::SubscriptionExclusive));
        },
    );
}

/// Publishes so many messages to topics in turn, more at a time than there are topics. What became of each.
async fn publish_in_turn(client: Client, count: u64, topics: &[&str]) -> Vec<Result<Receipt, PublishError>> {
    let publisher = client.publisher(PublisherOptions::default());
    let mut confirmations = Vec::new();
    for (at, topic) in (0..count).zip(topics.iter().cycle()) {
        confirmations.push(publisher.send(topic, Message::new(at.to_le_bytes().to_vec())).await.unwrap());
        if at % 20 == 19 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    join_all(confirmations).await
}

#[test]
fn rule_5_what_goes_to_topics_in_turn_is_stored_once_and_in_order_when_a_leader_dies_and_one_topic_is_not_there()
 {
    const COUNT: u64 = 1_200;
    const TOPICS: [&str; 4] = ["a", "b", "missing", "b"];
    let _turn = turn();
    (1..=3).for_each(|seed| {
        Story::tell(
            seed,
            |_| {},
            |story| {
                let create = async |client: Client| {
                    client.create_topic("a", v1::TopicConfig::default()).await?;
                    client.create_topic("b", v1::TopicConfig::default()).await?;
                    let bindings = [("a", "#"), ("b", "#")];
                    client.create_subscription("s", v1::SubscriptionConfig::default(), &bindings).await
                };
                story.work(create).unwrap();
                let seen = Rc::new(Seen::default());
                let noted = Rc::clone(&seen);
                let stored = usize::try_from(COUNT / 4 * 3).unwrap();
                let consuming = story.begin(None, move |client| consume_slowly(client, noted, stored));
                let publishing = story.begin(None, |client| publish_in_turn(client, COUNT, &TOPICS));
                story.wait(|_| seen.first.borrow().len() >= 50);
                let leader = story.leader(GroupId::new(1)).unwrap();
                story.kill(leader);
                let outcomes = story.finish(&publishing);
                let mut next = BTreeMap::from([("a", 0), ("b", 0)]);
                for (at, (outcome, topic)) in outcomes.into_iter().zip(TOPICS.iter().cycle()).enumerate() {
                    match next.get_mut(topic) {
                        Some(next) => {
                            assert_eq!(
                                outcome.unwrap().offset,
                                *next,
                                "message {at} to {topic}: nothing is stored twice"
                            );
                            *next += 1;
                        }
                        None => {
                            let Err(PublishError::Refused(refusal)) = outcome else { panic!("{outcome:?}") };
                            assert_eq!(refusal.reason, Reason::TopicNotFound);
                        }
                    }
                }
                story.finish(&consuming).unwrap();
                let expected: Vec<u64> = (0..COUNT).filter(|at| at % 4 != 2).collect();
                assert_eq!(
                    *seen.first.borrow(),
                    expected,
                    "the order is that of the publisher over all topics"
                );
            },
        );
    });
}

/// Publishes these lines as a producer, each under its own number, and answers what became of each.
async fn ingest(
    client: Client,
    lines: std::ops::RangeInclusive<u64>,
) -> Result<Vec<Result<u64, PublishError>>, CallError> {
    let options = ProducerOptions { timeout: Duration::from_secs(60), ..ProducerOptions::default() };
    let producer = client.producer("p", options).await?;
    let mut answers = Vec::new();
    for line in lines {
        let answer = producer.publish_at(line, "t", [Message::new(line.to_le_bytes().to_vec())]).await;
        answers.push(answer.map(|receipt| receipt.offset));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(answers)
}

#[test]
fn rule_8_a_producer_that_is_opened_again_goes_on_and_the_former_one_stores_nothing_whoever_dies() {
    let _turn = turn();
    Story::tell(
        1,
        |_| {},
        |story| {
            story.work(async |client: Client| client.create_topic("t", kept()).await).unwrap();
            let shard = GroupId::new(1);
            // The former one is cut off with its node, and goes on when another one has opened the producer.
            let apart = story.leader(shard).unwrap();
            let former = story.begin(Some(apart), |client| ingest(client, 1..=200));
            story.pass(Duration::from_secs(1));
            story.cut_off(apart, true);
            story.pass(Duration::from_secs(3));
            let others = story.begin(None, |client| ingest(client, 1..=300));
            story.pass(Duration::from_secs(1));
            story.cut_off(apart, false);
            let answers = story.finish(&former).unwrap();
            let stored = answers.iter().take_while(|answer| answer.is_ok()).count();
            assert!(stored > 10 && stored < 200, "{stored}");
            // Of the one that was under way nobody knows here; all others are refused for good.
            let fenced = |answer: &Result<u64, PublishError>| matches!(answer, Err(PublishError::Refused(refusal)) if refusal.reason == Reason::ProducerFenced);
            assert!(fenced(&answers[stored]) || answers[stored] == Err(PublishError::Unknown));
            assert!(answers[stored + 1..].iter().all(fenced), "{:?}", answers.last());
            // The leader dies under the next one, and all nodes before the third.
            let dead = story.leader(shard).unwrap();
            story.kill(dead);
            let answers = story.finish(&others).unwrap();
            story.start(dead);
            story.wait(|story| story.is_ready(dead));
            assert_eq!(
                answers,
                (0..300).map(Ok).collect::<Vec<_>>(),
                "each line has the offset of its first receipt"
            );
            (1..=3).for_each(|node| story.kill(node));
            (1..=3).for_each(|node| story.start(node));
            let answers = story.work(|client| ingest(client, 250..=310)).unwrap();
            assert_eq!(answers, (249..310).map(Ok).collect::<Vec<_>>());
            let producer = story.work(async |client: Client| client.describe_producer("p").await).unwrap();
            assert_eq!((producer.epoch, producer.last_sequence), (3, 310));
            let read = story.work(async |client: Client| {
                let mut reader = client.read("t", ReadOptions { linearizable: true, ..Default::default() });
                let mut lines = Vec::new();
                while let Some(message) = reader.next().await {
                    lines.push(u64::from_le_bytes(message.unwrap().message.payload[..].try_into().unwrap()));
                }
                lines
            });
            assert_eq!(read, (1..=310).collect::<Vec<_>>());
        },
    );
}

/// Answers so many requests with their own content.
async fn answer(client: Client, count: usize) -> Result<(), ConsumeError> {
    let mut consumer = client.consume("s", ConsumerOptions::default()).await?;
    for _ in 0..count {
        let Some(delivery) = consumer.next().await.transpose()? else { break };
        let content = delivery.message.payload.clone();
        delivery.reply(Message::new(content)).await.unwrap();
        drop(delivery.ack());
    }
    consumer.close().await;
    Ok(())
}

#[test]
fn a_reply_finds_its_requester_through_any_node_and_is_refused_when_the_requester_is_gone() {
    let _turn = turn();
    Story::tell(
        1,
        |_| {},
        |story| {
            story
                .work(async |client: Client| {
                    client.create_topic("t", v1::TopicConfig::default()).await?;
                    client.create_subscription("s", v1::SubscriptionConfig::default(), &[("t", "#")]).await
                })
                .unwrap();
            // Whichever node has the inbox, and whichever the reply is sent to.
            for (here, there) in [(1, 1), (1, 2), (2, 3), (3, 1)] {
                let answering = story.begin(Some(there), |client| answer(client, 20));
                let asking = story.begin(Some(here), async |client: Client| {
                    let ask = |number: u32| {
                        let request = Message::new(number.to_string());
                        let client = &client;
                        async move { client.request("t", request, Duration::from_secs(5)).await }
                    };
                    join_all((0..20).map(ask)).await
                });
                let replies = story.finish(&asking);
                let replies = replies.into_iter().map(|reply| reply.unwrap().payload);
                let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
                assert_eq!(replies.collect::<Vec<_>>(), expected);
                story.finish(&answering).unwrap();
            }
            // The requester has given up and gone before anybody consumes its request.
            let late = story.work(async |client: Client| {
                client.request("t", Message::new("late"), Duration::from_secs(1)).await
            });
            assert!(matches!(late, Err(RequestError::TimedOut { stored: true, .. })), "{late:?}");
            let refused = story.work(async |client: Client| {
                let mut consumer = client.consume("s", ConsumerOptions::default()).await.unwrap();
                let delivery = consumer.next().await.unwrap().unwrap();
                drop(delivery.ack());
                delivery.reply(Message::new("too late")).await
            });
            assert_eq!(refused.map_err(|error| error.refusal().reason), Err(Reason::NoInbox));
        },
    );
}

#[test]
fn files_of_a_group_that_was_removed_while_the_node_was_stopping_are_gone_after_its_next_start() {
    let _turn = turn();
    let stray = GroupId::new(77);
    Story::tell(
        1,
        |_| {},
        move |story| {
            story.kill(3);
            // As a node leaves it that has group 0 without the group on its disk, and died before it removed the files.
            story.on_disk(3, async move |storage| storage.group(stray).save_vote(vec![1]).await).unwrap();
            let before = story.on_disk(3, async |storage| storage.groups());
            assert!(before.contains(&stray), "{before:?}");
            story.start(3);
            story.wait(|story| story.is_ready(3));
            story.pass(Duration::from_secs(2));
            story.kill(3);
            let after = story.on_disk(3, async |storage| storage.groups());
            assert_eq!(after, [GroupId::SYSTEM, GroupId::new(1)]);
        },
    );
}

#[test]
fn a_group_that_only_a_newer_placement_knows_keeps_its_files() {
    let _turn = turn();
    let late = |config: &mut quorate_node::Config| {
        config.consensus.checkpoint_interval = Duration::from_secs(3_600);
        config.consensus.checkpoint_bytes = 1 << 40;
    };
    Story::tell(1, late, |story| {
        // Its last checkpoint knows the cluster, and not the namespace.
        story.restart(3);
        let made = story.work(async |client: Client| client.create_namespace("n", 1).await).unwrap();
        let group = GroupId::new(made.groups[0]);
        story.wait(|story| (1..=3).all(|node| story.groups(node).contains(&group)));
        story.pass(Duration::from_secs(1));
        story.kill(3);
        // It comes back with an old group 0, and nobody tells it the rest.
        story.cut_off(3, true);
        story.start(3);
        story.pass(Duration::from_secs(5));
        story.kill(3);
        let kept =
            story.on_disk(3, async move |storage| storage.group(group).last()).map(|last: LogId| last.index);
        assert!(kept.is_some_and(|index| index > 0), "{kept:?}");
        story.cut_off(3, false);
        story.start(3);
        story.wait(|story| story.is_ready(3));
        assert!(story.groups(3).contains(&group));
    });
}

#[test]
fn a_leader_whose_process_ended_is_followed_at_once_and_not_when_its_lease_ends() {
    let _turn = turn();
    let long = |config: &mut quorate_node::Config| {
        config.consensus.election_timeout_max = Duration::from_secs(30);
    };
    Story::tell(1, long, |story| {
        let group = GroupId::new(1);
        story
            .work(async |client: Client| client.create_topic("t", v1::TopicConfig::default()).await)
            .unwrap();
        for _ in 0..3 {
            let leader = story.leader(group).unwrap();
            story.kill(leader);
            // The simulated network tells nobody of a crash: that takes a keep-alive.
            story.pass(Duration::from_secs(3));
            assert!(story.leader(group).is_some_and(|next| next != leader));
            story.work(|client| publish(client, 10)).unwrap();
            story.start(leader);
            story.wait(|story| story.is_ready(leader));
        }
    });
}
