//! Messages that are followed from node to node.

use crate::harness::{Cluster, until};
use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use quorate_client::{ConsumerOptions, Message, PublisherOptions, TraceParent};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans);
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens on a port that the system chooses, and says which.
    async fn start(&self) -> Result<u16> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(port)
    }

    fn of(&self, parent: TraceParent) -> Vec<Span> {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace_id == parent.trace()).cloned().collect()
    }
}

fn node(span: &Span) -> Option<i64> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "quorate.node")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(node) => Some(*node),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_followed_from_its_publish_to_its_ack_over_two_nodes_as_one_trace() -> Result<()> {
    let collector = Collector::default();
    let port = collector.start().await?;
    let mut cluster = Cluster::new(3)?;
    for node in &mut cluster.nodes {
        node.arguments = vec![format!("--trace-collector=127.0.0.1:{port}")];
        node.start()?;
    }
    cluster.wait_ready().await?;
    cluster.topic("orders").await?;
    let followers = cluster.followers().await?;
    let (one, other) = (followers[0], followers[1]);

    let options = PublisherOptions { prefer_leader: false, ..PublisherOptions::default() };
    let publisher = cluster.client_of(one)?.publisher(options);
    let (followed, not_wanted) = (TraceParent::begin([7, 8], 9, true), TraceParent::begin([7, 9], 9, false));
    publisher.publish("orders", Message::new("a book").trace(followed)).await?;
    publisher.publish("orders", Message::new("two pens").trace(not_wanted)).await?;
    let mut consumer = cluster.client_of(other)?.consume("orders", ConsumerOptions::default()).await?;
    for parent in [followed, not_wanted] {
        let delivery = consumer.next().await.context("the end")??;
        ensure!(delivery.message.trace_parent() == Some(parent), "{delivery:?}");
        delivery.ack().await?;
    }
    consumer.close().await;

    let spans = until("all spans to be told", async || {
        let spans = collector.of(followed);
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let all = ["quorate commit", "quorate deliver", "quorate publish", "quorate settle"];
        ensure!(names.iter().eq(&all), "{names:?}");
        Ok(spans)
    })
    .await?;
    for span in &spans {
        ensure!(span.parent_span_id == followed.span(), "{span:?}");
        ensure!(span.start_time_unix_nano <= span.end_time_unix_nano && span.status.is_none(), "{span:?}");
    }
    let of = |name: &str| spans.iter().find(|span| span.name == name).and_then(node);
    let ids = [one, other].map(|index| i64::try_from(cluster.nodes[index].id).unwrap_or_default());
    ensure!(of("quorate publish") == Some(ids[0]) && of("quorate settle") == Some(ids[1]), "{spans:?}");
    ensure!(of("quorate commit").is_some_and(|leader| !ids.contains(&leader)), "{spans:?}");
    ensure!(collector.of(not_wanted).is_empty(), "its publisher did not want it to be followed");
    cluster.finish().await
}
