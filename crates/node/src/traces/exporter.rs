//! Tells a collector, a few hundred spans at a time. What it does not take in time is lost: traces must never hold up messages.

use super::span::attribute;
use crate::metrics::DataMetrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use quorate_types::NodeId;
use quorate_wire::{AddressError, ChannelOptions, Connect};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Spans of one request: far below the 4 MiB that a collector takes.
const BATCH_MAX: usize = 512;
/// A span waits so long for others.
const GATHER: Duration = Duration::from_millis(500);
/// A collector that takes longer is given up for this batch.
const TELL_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Exporter {
    client: TraceServiceClient<Channel>,
    resource: Resource,
    metrics: DataMetrics,
}

impl Exporter {
    pub(super) fn new(
        collector: &str,
        connect: &dyn Connect,
        (node, cluster): (NodeId, &str),
        metrics: DataMetrics,
    ) -> Result<Self, AddressError> {
        let text = |value: String| Value::StringValue(value);
        let attributes = vec![
            attribute("service.name", text("quorate".to_owned())),
            attribute("service.version", text(env!("CARGO_PKG_VERSION").to_owned())),
            attribute("service.namespace", text(cluster.to_owned())),
            attribute("service.instance.id", text(node.to_string())),
        ];
        let channel = connect.channel(collector, &ChannelOptions::client())?;
        let resource = Resource { attributes, ..Resource::default() };
        Ok(Self { client: TraceServiceClient::new(channel), resource, metrics })
    }

    /// Until the node stops; what has ended by then is told.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Span>, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = told.recv() => first,
                () = stop.cancelled() => told.try_recv().ok(),
            };
            let Some(first) = first else { return };
            let mut spans = vec![first];
            let until = Instant::now() + GATHER;
            while spans.len() < BATCH_MAX && !stop.is_cancelled() {
                match timeout_at(until, told.recv()).await {
                    Ok(Some(span)) => spans.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            while spans.len() < BATCH_MAX
                && let Ok(span) = told.try_recv()
            {
                spans.push(span);
            }
            self.tell(spans).await;
        }
    }

    async fn tell(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let scope = InstrumentationScope { name: "quorate".to_owned(), ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let of_node =
            ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![of_node] };
        match timeout(TELL_WITHIN, self.client.export(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => self.lost(count, &status.to_string()),
            Err(_) => self.lost(count, "it does not answer"),
        }
    }

    fn lost(&self, spans: u64, why: &str) {
        self.metrics.spans_dropped(spans);
        tracing::debug!(spans, why, "the collector of traces did not take them");
    }
}
