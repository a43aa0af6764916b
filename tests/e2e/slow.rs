//! A consumer that does not read.

use crate::harness::{Cluster, PATIENCE, until};
use anyhow::{Context, Result, ensure};
use futures::stream;
use quorate_client::v1::consume_request::Request;
use quorate_client::v1::consume_response::Response;
use quorate_client::v1::consumer_client::ConsumerClient;
use quorate_client::v1::{Attach, ConsumeRequest, SubscriptionConfig, TopicConfig};
use quorate_client::{ConsumerOptions, Message, PublisherOptions};
use std::time::Duration;
use tokio::time::timeout;

/// Together many times what a connection takes that nobody reads from.
const MESSAGES: u64 = 60;
const MESSAGE_BYTES: usize = 500_000;
/// What may be under way when the leases end: the windows of the connection, and the responses that wait for it.
const UNDER_WAY_MAX: usize = 20;
/// Nothing more comes when nothing came for so long.
const QUIET: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_2_what_waited_for_a_slow_reader_and_was_acked_by_another_is_not_sent_to_it() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let client = cluster.client(0)?;
    // Kept after the ack: what is gone cannot be sent by mistake.
    let kept = TopicConfig { retention_ms: Some(3_600_000), ..Default::default() };
    client.create_topic("orders", kept).await?;
    let config = SubscriptionConfig { lease_timeout_ms: 1_000, ..SubscriptionConfig::default() };
    client.create_subscription("orders", config, &[("orders", "#")]).await?;

    // It attaches first and gets everything; it reads no more than that it is attached.
    let attach = Attach { subscription: "orders".to_owned(), credit: 1_000, ..Attach::default() };
    let attach = ConsumeRequest { request: Some(Request::Attach(attach)) };
    let endless = stream::StreamExt::chain(stream::iter([attach]), stream::pending());
    let slow = ConsumerClient::connect(format!("http://{}", cluster.nodes[0].address())).await?;
    let mut slow = slow.max_decoding_message_size(16 << 20);
    let mut slow = slow.consume(endless).await?.into_inner();
    let attached = slow.message().await?.and_then(|r| r.response);
    ensure!(matches!(attached, Some(Response::Attached(_))), "{attached:?}");
    let publisher = client.publisher(PublisherOptions::default());
    for _ in 0..MESSAGES {
        publisher.publish("orders", Message::new(vec![b'x'; MESSAGE_BYTES])).await?;
    }

    // Another one gets them as their leases end, and acks them.
    let mut quick = client.consume("orders", ConsumerOptions::default()).await?;
    let mut acked = 0;
    while acked < MESSAGES {
        let delivery = timeout(PATIENCE, quick.next()).await.with_context(|| format!("{acked} are acked"))?;
        if delivery.context("it ended")??.ack().await.is_ok() {
            acked += 1;
        }
    }
    until("everything to be acked", async || {
        let ledger = cluster.ledger("orders").await?;
        ensure!(ledger.acked == MESSAGES, "{ledger:?}");
        Ok(())
    })
    .await?;
    quick.close().await;

    let mut came = 0;
    while let Ok(response) = timeout(QUIET, slow.message()).await {
        let Some(Response::Deliveries(deliveries)) = response?.and_then(|r| r.response) else { continue };
        let runs = deliveries.deliveries.iter().filter_map(|d| d.run.as_ref());
        came += runs.map(|run| run.messages.len()).sum::<usize>();
    }
    ensure!(came <= UNDER_WAY_MAX, "{came} messages came that another consumer had acked");
    drop(slow);
    cluster.finish().await
}
