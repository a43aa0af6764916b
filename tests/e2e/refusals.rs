//! Bad input gets an error that names the thing and has a stable reason, and changes nothing.

use crate::harness::{Cluster, run, until};
use anyhow::{Context, Result, bail, ensure};
use futures::stream;
use quorate_client::v1::consume_request::Request;
use quorate_client::v1::consume_response::Response;
use quorate_client::v1::consumer_client::ConsumerClient;
use quorate_client::v1::publish_response::Outcome;
use quorate_client::v1::publisher_client::PublisherClient;
use quorate_client::v1::{
    Attach, ConsumeRequest, OpenSessionRequest, PublishRequest, SettleResult, Settlement, Verdict,
};
use quorate_client::{
    CallError, ConsumeError, ConsumerOptions, Message, PublishError, PublisherOptions, ReadFrom, ReadOptions,
    Reason, Refusal,
};

/// One byte more than a message may have by default, headers and all.
const TOO_LARGE: usize = (1 << 20) + 1;

/// Where a session's number ends and that of its group begins.
const SESSION_BITS: u32 = 40;

/// What an operation was refused with.
trait Refused {
    fn refused(self) -> Result<Refusal>;
}

impl<T> Refused for Result<T, CallError> {
    fn refused(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            CallError::Refused(refusal) => Ok(refusal),
            error @ CallError::TimedOut { .. } => Err(error.into()),
        }
    }
}

impl<T> Refused for Result<T, PublishError> {
    fn refused(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            PublishError::Refused(refusal) => Ok(refusal),
            error => Err(error.into()),
        }
    }
}

impl<T> Refused for Result<T, ConsumeError> {
    fn refused(self) -> Result<Refusal> {
        match self.err().context("it was done")? {
            ConsumeError::Refused(refusal) => Ok(refusal),
            error => Err(error.into()),
        }
    }
}

/// The reason is the one, and the text names the thing.
fn expect(reason: Reason, names: &str, outcome: impl Refused) -> Result<()> {
    let refusal = outcome.refused().with_context(|| format!("{reason} for {names} was expected"))?;
    ensure!(refusal.reason == reason, "{reason} was expected, not {refusal}");
    ensure!(refusal.message.contains(names), "the text of {refusal} does not name {names}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_with_its_reason_and_names_the_thing() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let client = cluster.client(0)?;
    let publisher = client.publisher(PublisherOptions::default());
    let small = || Message::new("small");

    expect(Reason::TopicNotFound, "nowhere", publisher.publish("nowhere", small()).await)?;
    expect(Reason::TopicNotFound, "nowhere", client.describe_topic("nowhere").await)?;
    expect(Reason::TopicNotFound, "nowhere", client.bind("nowhere", "orders", "#").await)?;
    expect(Reason::SubscriptionNotFound, "nobody", client.describe_subscription("nobody").await)?;
    expect(
        Reason::SubscriptionNotFound,
        "nobody",
        client.consume("nobody", ConsumerOptions::default()).await,
    )?;
    expect(Reason::BindingNotFound, "orders.paid", client.unbind("orders", "orders", "orders.paid").await)?;
    let elsewhere = client.namespace("elsewhere");
    expect(
        Reason::NamespaceNotFound,
        "elsewhere",
        elsewhere.create_topic("orders", Default::default()).await,
    )?;
    expect(Reason::NamespaceNotEmpty, "default", client.delete_namespace("default").await)?;
    expect(Reason::InvalidArgument, "17 shards", client.create_namespace("wide", 17).await)?;

    expect(Reason::InvalidArgument, "a b", client.create_topic("a b", Default::default()).await)?;
    expect(Reason::InvalidArgument, "topic", client.create_topic("", Default::default()).await)?;
    expect(Reason::InvalidArgument, "paid*", client.bind("orders", "orders", "paid*").await)?;
    expect(
        Reason::InvalidArgument,
        "subject",
        publisher.publish("orders", small().subject("x".repeat(256))).await,
    )?;
    let large = Message::new(vec![b'x'; TOO_LARGE]);
    expect(Reason::MessageTooLarge, "1048576", publisher.publish("orders", large).await)?;

    // A refused message has used up its number and nothing else: the publisher goes on.
    let receipt = publisher.publish("orders", small()).await?;
    assert_eq!(receipt.offset, 0, "nothing that was refused was stored");
    let mut beyond =
        client.read("orders", ReadOptions { from: ReadFrom::Offset(7), ..ReadOptions::default() });
    expect(Reason::OffsetOutOfRange, "7", beyond.next().await.context("an answer")?)?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_what_is_not_leased_is_stale_and_changes_nothing() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    cluster.client(0)?.publisher(PublisherOptions::default()).publish("orders", Message::new("one")).await?;

    let settlement = |first, last, attempt| Settlement {
        first,
        last,
        attempt,
        verdict: Verdict::Ack.into(),
        delay_ms: None,
    };
    let settle = quorate_client::v1::Settle {
        id: 1,
        // Not there yet; there under another attempt; everything there will ever be.
        settlements: vec![settlement(5, 5, 1), settlement(0, 0, 2), settlement(1, u64::MAX, 1)],
    };
    let attach = Attach { subscription: "orders".to_owned(), credit: 1, ..Attach::default() };
    let requests = [Request::Attach(attach), Request::Settle(settle)];
    let requests = stream::iter(requests.map(|request| ConsumeRequest { request: Some(request) }));
    let mut consumer = ConsumerClient::connect(format!("http://{}", cluster.nodes[0].address())).await?;
    let mut responses = consumer.consume(requests).await?.into_inner();
    let mut settled = None;
    while let Some(response) = responses.message().await? {
        if let Some(Response::Settled(answer)) = response.response {
            settled = Some(answer);
        }
    }
    let settled = settled.context("a settle is answered")?;
    ensure!(settled.error.is_none(), "a stale lease is an answer, no error: {settled:?}");
    let none = |result: &SettleResult| result.settled == 0 && result.stale > 0;
    ensure!(settled.results.len() == 3 && settled.results.iter().all(none), "{:?}", settled.results);
    // The end of the stream detaches the consumer; its lease returns with that entry.
    until("the message to be had again", async || {
        let ledger = cluster.ledger("orders").await?;
        ensure!((ledger.acked, ledger.ready) == (0, 1), "{ledger:?}");
        Ok(())
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_a_client_cannot_use_up_the_numbers_of_a_nodes_session() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let mut publisher = PublisherClient::connect(format!("http://{}", cluster.nodes[0].address())).await?;
    // The first session of a group is the node's own: whatever a client calls by that number is not its.
    let opened = publisher.open_session(OpenSessionRequest::default()).await?.into_inner().session;
    let session = opened >> SESSION_BITS << SESSION_BITS | 1;
    ensure!(session != opened, "the first session is the node's own");
    let request = move |sequence| PublishRequest {
        session,
        sequence,
        topic: "orders".to_owned(),
        messages: vec![Default::default()],
        ..Default::default()
    };
    let mut answers = publisher.publish_stream(stream::iter((1..=20).map(request))).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        let Some(Outcome::Error(error)) = answer.outcome else {
            bail!("a foreign number was taken: {answer:?}")
        };
        ensure!(error.reason == "SESSION_NOT_FOUND", "{error:?}");
    }
    // The node's own operations go on.
    let mut publish = async || {
        let request = PublishRequest { session: 0, sequence: 0, ..request(0) };
        anyhow::Ok(publisher.publish(request).await?.into_inner())
    };
    for offset in 0..3 {
        let Some(Outcome::Receipt(receipt)) = publish().await?.outcome else { bail!("no receipt") };
        assert_eq!(receipt.first_offset, offset);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_a_session_ends_with_its_namespace_and_is_not_somebody_elses_in_the_next() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let mut publisher = PublisherClient::connect(format!("http://{}", cluster.nodes[0].address())).await?;
    let client = cluster.client(0)?;
    let mut open = async || {
        client.create_namespace("shop", 1).await?;
        let request = OpenSessionRequest { namespace: "shop".to_owned(), ..Default::default() };
        anyhow::Ok(publisher.open_session(request).await?.into_inner().session)
    };
    let mut former = Vec::new();
    for _ in 0..2 {
        former.push(open().await?);
        client.delete_namespace("shop").await?;
    }
    let other = open().await?;
    let within_its_group = |session: u64| session & ((1 << SESSION_BITS) - 1);
    for session in former {
        ensure!(
            within_its_group(session) == within_its_group(other),
            "the test must be about the same number"
        );
        let request =
            PublishRequest { namespace: "shop".to_owned(), session, sequence: 1, ..Default::default() };
        let mut answers = publisher.publish_stream(stream::iter([request])).await?.into_inner();
        let answer = answers.message().await?.context("no answer")?;
        let Some(Outcome::Error(error)) = answer.outcome else {
            bail!("a former session goes on: {answer:?}")
        };
        ensure!(error.reason == "SESSION_NOT_FOUND", "{error:?}");
    }
    cluster.finish().await
}

/// Exit statuses, as `quorate --help` lists them.
const REFUSED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
const NOT_NOW: Option<i32> = Some(3);

/// A bad command line: its exit status, and what it must say on standard error.
struct Bad<'a> {
    arguments: &'a [&'a str],
    exit: Option<i32>,
    says: &'a [&'a str],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_says_what_is_wrong_and_exits_with_the_status_of_its_kind() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let address = cluster.nodes[0].address();
    let nodes = ["--nodes", address.as_str()];
    let typo = cluster.nodes[0].directory.with_file_name("typo.toml");
    std::fs::write(&typo, "nodee = 1\n")?;
    let typo = typo.to_string_lossy();

    let publish = ["publish", "nowhere", "x", nodes[0], nodes[1]];
    let create = ["topic", "create", "a b", nodes[0], nodes[1]];
    let bind = ["subscription", "bind", "orders", "orders", "paid*", nodes[0], nodes[1]];
    let consume = ["consume", "nobody", nodes[0], nodes[1]];
    let silent = ["topic", "list", "--nodes", "127.0.0.1:1", "--timeout", "1s"];
    let commands = [
        Bad { arguments: &publish, exit: REFUSED, says: &["TOPIC_NOT_FOUND", "nowhere"] },
        Bad { arguments: &create, exit: REFUSED, says: &["INVALID_ARGUMENT", "a b"] },
        Bad { arguments: &bind, exit: REFUSED, says: &["INVALID_ARGUMENT", "paid*"] },
        Bad { arguments: &consume, exit: REFUSED, says: &["SUBSCRIPTION_NOT_FOUND", "nobody"] },
        Bad { arguments: &["no-such-command"], exit: USAGE, says: &["no-such-command"] },
        Bad { arguments: &["serve", "--config", &typo], exit: USAGE, says: &["nodee"] },
        Bad { arguments: &["serve", "--node", "0"], exit: USAGE, says: &["0"] },
        // Nobody listens on port 1.
        Bad { arguments: &silent, exit: NOT_NOW, says: &["127.0.0.1:1"] },
    ];
    for command in &commands {
        let finished = run(command.arguments).await?;
        ensure!(finished.code == command.exit, "{:?}: {finished:?}", command.arguments);
        for text in command.says {
            ensure!(finished.stderr.contains(text), "{:?} says no {text}: {finished:?}", command.arguments);
        }
        ensure!(finished.stdout.is_empty(), "{:?} prints an error as a result", command.arguments);
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_reads_the_reason_from_json() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let address = cluster.nodes[0].address();
    let finished = run(&["publish", "nowhere", "x", "--nodes", &address, "--output", "json"]).await?;
    let document: serde_json::Value = serde_json::from_str(&finished.stderr).context(finished.stderr)?;
    assert_eq!(document["error"]["code"], "TOPIC_NOT_FOUND");
    assert_eq!(document["error"]["exit"], 1);
    cluster.finish().await
}
