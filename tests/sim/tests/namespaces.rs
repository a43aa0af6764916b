//! Deleting a namespace while somebody else uses it: whatever the order, what was confirmed in it is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::turn;
use quorate_client::{
    CallError, Client, Message, PublisherOptions, ReadFrom, ReadOptions, StoredMessage, v1,
};
use quorate_sim::{Doing, Story};
use quorate_types::{GroupId, Reason};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

/// Nobody's call is given up while something is held back.
fn patient(config: &mut quorate_node::Config) {
    config.operation_timeout = Duration::from_secs(10);
}

fn reason<T>(result: &Result<T, CallError>) -> Option<Reason> {
    result.as_ref().err().map(|error| error.refusal().reason)
}

fn keep_all() -> v1::TopicConfig {
    v1::TopicConfig { retention_bytes: Some(1 << 40), ..Default::default() }
}

/// A topic with one confirmed message.
async fn create_and_publish(client: &Client, topic: &str) -> Result<(), CallError> {
    client.create_topic(topic, keep_all()).await?;
    let publisher = client.publisher(PublisherOptions::default());
    let published = publisher.publish(topic, Message::new("x")).await;
    assert!(published.is_ok(), "a topic that was created takes no message: {published:?}");
    Ok(())
}

async fn read(client: &Client, topic: &str) -> Vec<StoredMessage> {
    let options = ReadOptions { from: ReadFrom::Offset(0), linearizable: true, ..Default::default() };
    let mut reader = client.read(topic, options);
    let mut messages = Vec::new();
    while let Some(message) = reader.next().await {
        messages.push(message.expect("what was confirmed can be read"));
    }
    messages
}

/// Who does what, in a cluster whose group 0 and whose namespace are led by two nodes.
struct Cast {
    namespace: String,
    /// Leads group 0.
    system: u64,
    /// Leads the namespace's group.
    shard: u64,
    /// The third one, through which the namespace is deleted.
    deleter: u64,
    group: GroupId,
}

impl Cast {
    fn of(story: &mut Story) -> Self {
        for n in 1..20 {
            let namespace = format!("n{n}");
            let name = namespace.clone();
            let made = story.work(async move |client| client.create_namespace(&name, 1).await).unwrap();
            let group = GroupId::new(made.groups[0]);
            story.wait(|story| {
                story.leader(group).is_some() && (1..=3).all(|node| story.groups(node).contains(&group))
            });
            story.pass(Duration::from_millis(500));
            let (system, shard) = (story.leader(GroupId::SYSTEM).unwrap(), story.leader(group).unwrap());
            let deleter = (1..=3).find(|node| *node != system && *node != shard).unwrap();
            if system != shard {
                return Self { namespace, system, shard, deleter, group };
            }
            // New groups are led by the first voter: group 0 moves on to another one.
            story.kill(system);
            story.wait(|story| story.leader(GroupId::SYSTEM).is_some_and(|leader| leader != system));
            story.start(system);
            story.wait(|story| story.is_ready(system));
        }
        panic!("one node leads everything");
    }
}

#[test]
fn a_client_that_comes_before_there_is_a_cluster_waits_for_its_namespace() {
    let _turn = turn();
    for seed in 1..=4 {
        Story::tell_from_the_start(seed, patient, |story| {
            let early: Vec<_> = (1..=3)
                .map(|node| {
                    let topic = format!("t{node}");
                    story.begin(Some(node), async move |client| create_and_publish(&client, &topic).await)
                })
                .collect();
            for done in early {
                assert_eq!(reason(&story.finish(&done)), None);
            }
        });
    }
}

#[test]
fn what_is_confirmed_between_the_check_of_a_delete_and_its_entry_is_not_lost() {
    let _turn = turn();
    Story::tell(1, patient, |story| {
        let Cast { namespace, system, shard, deleter, .. } = Cast::of(story);
        // It may look into the shard, and cannot tell group 0.
        story.hold(deleter, system);
        let name = namespace.clone();
        let deleting = story.begin(Some(deleter), async move |client| client.delete_namespace(&name).await);
        story.pass(Duration::from_millis(200));
        let name = namespace.clone();
        let creating = story
            .begin(Some(shard), async move |client| create_and_publish(&client.namespace(&name), "t").await);
        let created = story.finish(&creating);
        story.let_go(deleter, system);
        let deleted = story.finish(&deleting);
        story.pass(Duration::from_secs(1));
        match created {
            Ok(()) => {
                let read = story.work(async move |client| read(&client.namespace(&namespace), "t").await);
                assert_eq!(read.len(), 1);
                assert_eq!(reason(&deleted), Some(Reason::NamespaceNotEmpty));
            }
            refused => assert_eq!(reason(&refused), Some(Reason::NamespaceNotFound)),
        }
    });
}

/// Begins a delete and stops when the shard is closed: whoever deletes does not know that yet.
fn half_delete(story: &mut Story, cast: &Cast) -> Doing<Result<(), CallError>> {
    let name = cast.namespace.clone();
    let deleting = story.begin(Some(cast.deleter), async move |client| client.delete_namespace(&name).await);
    let (shard, group) = (cast.shard, cast.group);
    story.wait(|story| story.is_closed(shard, group));
    deleting
}

#[test]
fn a_namespace_that_is_created_again_while_it_is_being_deleted_stays_with_what_was_confirmed_in_it() {
    let _turn = turn();
    Story::tell(1, patient, |story| {
        let cast = Cast::of(story);
        let deleting = half_delete(story, &cast);
        story.hold(cast.deleter, cast.system);
        let name = cast.namespace.clone();
        let creating = story.begin(Some(cast.shard), async move |client| {
            let inside = client.namespace(&name);
            let refused = inside.create_topic("t", keep_all()).await;
            client.create_namespace(&name, 1).await.unwrap();
            create_and_publish(&inside, "t").await.unwrap();
            refused
        });
        let refused = story.finish(&creating);
        assert_eq!(reason(&refused), Some(Reason::NamespaceNotFound));
        story.let_go(cast.deleter, cast.system);
        let deleted = story.finish(&deleting);
        // Asked again, as the client does after NAMESPACE_CHANGED.
        assert_eq!(reason(&deleted), Some(Reason::NamespaceNotEmpty));
        story.pass(Duration::from_secs(1));
        let read = story.work(async move |client| read(&client.namespace(&cast.namespace), "t").await);
        assert_eq!(read.len(), 1);
    });
}

/// A delete whose node died when it had closed the shard. The namespace is there, and closed.
fn left_halfway(story: &mut Story) -> Cast {
    let cast = Cast::of(story);
    let deleting = half_delete(story, &cast);
    story.kill(cast.deleter);
    // Whoever asked asks the same node again, for a while.
    let gave_up = story.finish(&deleting);
    assert!(matches!(gave_up, Err(CallError::TimedOut { .. })), "{gave_up:?}");
    story.start(cast.deleter);
    // What a node begins with again says it too.
    story.restart(cast.shard);
    story.wait(|story| (1..=3).all(|node| story.is_ready(node)));
    let (name, group) = (cast.namespace.clone(), cast.group.get());
    story.work(async move |client| {
        let listed = client.namespaces().await.unwrap();
        assert!(listed.iter().any(|n| n.name == name && n.groups == [group]), "{listed:?}");
        let refused = client.namespace(&name).create_topic("t", keep_all()).await;
        assert_eq!(reason(&refused), Some(Reason::NamespaceNotFound));
    });
    cast
}

#[test]
fn a_delete_that_was_left_halfway_can_be_repeated() {
    let _turn = turn();
    Story::tell(
        1,
        |_| {},
        |story| {
            let Cast { namespace, group, .. } = left_halfway(story);
            let name = namespace.clone();
            story.work(async move |client| client.delete_namespace(&name).await).unwrap();
            let refused = story
                .work(async move |client| client.namespace(&namespace).create_topic("t", keep_all()).await);
            assert_eq!(reason(&refused), Some(Reason::NamespaceNotFound));
            story.wait(|story| (1..=3).all(|node| !story.groups(node).contains(&group)));
        },
    );
}

#[test]
fn a_delete_that_was_left_halfway_can_be_taken_back() {
    let _turn = turn();
    Story::tell(
        1,
        |_| {},
        |story| {
            let Cast { namespace, group, .. } = left_halfway(story);
            let read = story.work(async move |client| {
                let made = client.create_namespace(&namespace, 1).await.unwrap();
                assert_eq!(made.groups, [group.get()], "it is the same one");
                let inside = client.namespace(&namespace);
                create_and_publish(&inside, "t").await.unwrap();
                read(&inside, "t").await
            });
            assert_eq!(read.len(), 1);
        },
    );
}

/// One goes on deleting the namespace through one node, the other creates it through another one and publishes: how often it was
/// confirmed and refused, and the namespace deleted.
fn deleted_and_created_again_and_again(story: &mut Story) -> [u32; 3] {
    let over = Rc::new(Cell::new(false));
    let until = Rc::clone(&over);
    let deleting = story.begin(Some(1), async move |client: Client| {
        let mut deleted = 0;
        for round in 0.. {
            let result = client.delete_namespace("n").await;
            match reason(&result) {
                None => deleted += 1,
                Some(Reason::NamespaceNotEmpty | Reason::NamespaceNotFound) => {}
                Some(_) => panic!("{result:?}"),
            }
            if until.get() {
                break;
            }
            // A new group takes an election before it serves.
            tokio::time::sleep(Duration::from_millis(round * 370 % 3_000)).await;
        }
        deleted
    });
    let creating = story.begin(Some(2), async move |client: Client| {
        let (mut confirmed, mut refused) = (0, 0);
        for _ in 0..60 {
            if client.create_namespace("n", 1).await.is_err() {
                refused += 1;
                continue;
            }
            let client = client.namespace("n");
            let created = create_and_publish(&client, "t").await;
            match reason(&created) {
                None => confirmed += 1,
                Some(Reason::NamespaceNotFound) => {
                    refused += 1;
                    continue;
                }
                Some(_) => panic!("{created:?}"),
            }
            assert_eq!(read(&client, "t").await.len(), 1);
            client.delete_topic("t").await.unwrap();
        }
        over.set(true);
        (confirmed, refused)
    });
    let (confirmed, refused) = story.finish(&creating);
    [confirmed, refused, story.finish(&deleting)]
}

#[test]
fn a_namespace_that_is_deleted_and_created_again_and_again_loses_nothing_that_was_confirmed() {
    let _turn = turn();
    let (tell, told) = mpsc::channel();
    for seed in 1..=4 {
        let tell = tell.clone();
        Story::tell(
            seed,
            |_| {},
            move |story| tell.send(deleted_and_created_again_and_again(story)).unwrap(),
        );
    }
    drop(tell);
    let counts: Vec<[u32; 3]> = told.iter().collect();
    let met = |what: usize| counts.iter().any(|counts| counts[what] > 0);
    assert!(met(0) && met(1) && met(2), "confirmed, refused, deleted: {counts:?}");
}
