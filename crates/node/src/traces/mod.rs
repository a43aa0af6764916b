//! What becomes of single messages, told to a collector of traces (OpenTelemetry, OTLP over gRPC).
//!
//! A message that comes with a sampled `traceparent` header is followed: through the node that took it (`quorate publish`), through the
//! leader (`quorate commit`: from its arrival in the batcher until a majority has it), to a consumer (`quorate deliver`: how long it
//! waited) and back (`quorate settle`). Each of these is a span of the client's trace, whose parent is the client's span: the header
//! stays in the message as it was, so that every node that meets it knows all that it has to, and nothing of traces has to be
//! passed between nodes.
//!
//! Off, which is the default, nothing looks into messages for it.

mod exporter;
mod span;

use crate::config::TraceConfig;
use crate::metrics::DataMetrics;
use bytes::Bytes;
use exporter::Exporter;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use quorate_types::{Clock, Entropy, NodeId, Rope, TraceParent};
use quorate_wire::{AddressError, Connect, headers};
pub(crate) use span::{Kind, Span, Spans};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages of one request, of one operation and of one response that are followed: a client that samples everything must not make
/// a node spend its time on it.
const FOLLOWED_MAX: usize = 32;
/// Spans that wait to be told; what comes beyond them is dropped, and counted.
const WAITING_MAX: usize = 4_096;

/// Clone handle; off it costs a look at an option.
#[derive(Clone, Default)]
pub(crate) struct Traces(Option<Arc<Inner>>);

struct Inner {
    node: NodeId,
    /// Traces are followed whose ids end with a number below this, of 2^64.
    share: u128,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ended: mpsc::Sender<otlp::Span>,
    metrics: DataMetrics,
}

/// What following needs of the world.
pub(crate) struct TraceSeams {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) collector: Arc<dyn Connect>,
}

impl Traces {
    /// Follows messages if a collector is named; ends with `stop`, when what was followed has been told.
    ///
    /// # Errors
    /// When the collector's address is none.
    pub(crate) fn start(
        config: &TraceConfig,
        (node, cluster): (NodeId, &str),
        seams: TraceSeams,
        metrics: DataMetrics,
        stop: CancellationToken,
    ) -> Result<Self, AddressError> {
        let Some(collector) = &config.collector else { return Ok(Self::default()) };
        let (ended, told) = mpsc::channel(WAITING_MAX);
        let exporter = Exporter::new(collector, &*seams.collector, (node, cluster), metrics.clone())?;
        tokio::spawn(exporter.run(told, stop));
        let inner = Inner {
            node,
            share: share(config.per_million),
            clock: seams.clock,
            entropy: seams.entropy,
            ended,
            metrics,
        };
        Ok(Self(Some(Arc::new(inner))))
    }

    /// Whether nothing is followed.
    pub(crate) fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// The trace of a message that is to be followed.
    pub(crate) fn of_message(&self, message: &[u8]) -> Option<TraceParent> {
        let inner = self.0.as_ref()?;
        let (_, value) = headers(message).find(|(name, _)| *name == TraceParent::HEADER)?;
        TraceParent::parse(value).ok().filter(|parent| parent.is_sampled() && inner.follows(parent))
    }

    /// A span for each of these messages that is to be followed; none, at no cost, when nothing is.
    pub(crate) fn of_messages<'a>(
        &self,
        kind: Kind,
        messages: impl IntoIterator<Item = &'a Bytes>,
        say: impl Fn(&mut Span),
    ) -> Spans {
        if self.is_off() {
            return Spans::default();
        }
        let followed = messages.into_iter().filter_map(|message| self.of_message(message));
        let spans = followed.take(FOLLOWED_MAX).filter_map(|parent| self.begin(kind, parent));
        Spans::of(spans.map(|mut span| {
            say(&mut span);
            span
        }))
    }

    /// The same of the messages of a publish, as they lie in the fragment of its operation.
    pub(crate) fn of_fragment(
        &self,
        kind: Kind,
        fragment: &Rope,
        count: u64,
        say: impl Fn(&mut Span),
    ) -> Spans {
        if self.is_off() || count == 0 {
            return Spans::default();
        }
        let Ok(count) = u32::try_from(count) else { return Spans::default() };
        let whole = Bytes::from(fragment.parts().concat());
        // What is malformed is refused elsewhere.
        let messages = quorate_machine::block::bodies(&whole, 0, 0, count).unwrap_or_default();
        self.of_messages(kind, &messages, say)
    }

    /// A span that begins now.
    pub(crate) fn begin(&self, kind: Kind, parent: TraceParent) -> Option<Span> {
        self.0.as_ref().map(|inner| Span::begin(Arc::clone(inner), kind, parent))
    }
}

impl Inner {
    /// The same on every node: the trace's id decides.
    fn follows(&self, parent: &TraceParent) -> bool {
        let trace = parent.trace();
        let low = trace.last_chunk().map_or(0, |low| u64::from_be_bytes(*low));
        u128::from(low) < self.share
    }

    fn tell(&self, span: otlp::Span) {
        if self.ended.try_send(span).is_err() {
            self.metrics.spans_dropped(1);
        }
    }
}

/// A part of all ids.
fn share(per_million: u32) -> u128 {
    (1 << 64) / 1_000_000 * u128::from(per_million.min(1_000_000))
        + u128::from(per_million >= 1_000_000) * 1_000_000
}

#[cfg(test)]
mod tests;
