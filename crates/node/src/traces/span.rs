//! One step of a message's way, from its beginning to its end.

use super::Inner;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{self as otlp, span::SpanKind, status::StatusCode};
use quorate_types::{Millis, Refusal, TraceParent};
use std::sync::Arc;
use tokio::time::Instant;

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From the publish's arrival at a node to its confirm.
    Publish,
    /// From its arrival in the leader's batcher until it is committed and applied.
    Commit,
    /// From when it was stored until it is handed to a consumer's connection.
    Deliver,
    /// From the settle's arrival to its answer.
    Settle,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "quorate publish",
            Self::Commit => "quorate commit",
            Self::Deliver => "quorate deliver",
            Self::Settle => "quorate settle",
        }
    }

    const fn of_otlp(self) -> SpanKind {
        match self {
            Self::Publish | Self::Settle => SpanKind::Server,
            Self::Commit => SpanKind::Internal,
            Self::Deliver => SpanKind::Consumer,
        }
    }
}

/// Told when it is dropped: what nobody ended any more has ended, too.
pub(crate) struct Span {
    inner: Arc<Inner>,
    kind: Kind,
    parent: TraceParent,
    /// The wall clock when it began, and the monotonic one, by which its length is measured.
    wall: Millis,
    begun: Instant,
    attributes: Vec<KeyValue>,
    failed: Option<String>,
}

impl Span {
    pub(super) fn begin(inner: Arc<Inner>, kind: Kind, parent: TraceParent) -> Self {
        let wall = inner.clock.now();
        Self { inner, kind, parent, wall, begun: Instant::now(), attributes: Vec::new(), failed: None }
    }

    /// It began earlier: at this time of the log.
    pub(crate) fn since(&mut self, at: Millis) {
        self.wall = at.min(self.wall);
    }

    /// Says something about it, under a name of OpenTelemetry's conventions where there is one.
    pub(crate) fn say(&mut self, name: &str, value: &str) {
        self.add(name, Value::StringValue(value.to_owned()));
    }

    /// The same with a number.
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        self.add(name, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn add(&mut self, name: &str, value: Value) {
        self.attributes.push(attribute(name, value));
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.failed = Some(refusal.to_string());
    }
}

pub(super) fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

impl Drop for Span {
    fn drop(&mut self) {
        let now = self.inner.clock.now();
        let begun = self.wall.get().saturating_mul(1_000_000);
        let lasted = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // One that began in the past ends by the wall clock; the others are measured by one that does not jump.
        let end =
            if self.kind == Kind::Deliver { now.get().saturating_mul(1_000_000) } else { begun + lasted };
        let status =
            self.failed.take().map(|message| otlp::Status { message, code: StatusCode::Error.into() });
        self.attributes.push(attribute("messaging.system", Value::StringValue("quorate".to_owned())));
        let node = i64::try_from(self.inner.node.get()).unwrap_or(i64::MAX);
        self.attributes.push(attribute("quorate.node", Value::IntValue(node)));
        self.inner.tell(otlp::Span {
            trace_id: self.parent.trace().to_vec(),
            span_id: self.inner.entropy.next_u64().max(1).to_be_bytes().to_vec(),
            parent_span_id: self.parent.span().to_vec(),
            name: self.kind.name().to_owned(),
            kind: self.kind.of_otlp().into(),
            start_time_unix_nano: begun,
            end_time_unix_nano: end.max(begun),
            attributes: std::mem::take(&mut self.attributes),
            status,
            ..otlp::Span::default()
        });
    }
}

/// Spans that begin and end together; most often none.
#[derive(Default)]
pub(crate) struct Spans(Vec<Span>);

impl Spans {
    pub(super) fn of(spans: impl Iterator<Item = Span>) -> Self {
        Self(spans.collect())
    }

    /// Adds one, if there is one.
    pub(crate) fn push(&mut self, span: Option<Span>) {
        self.0.extend(span);
    }

    /// Ends them with what was answered.
    pub(crate) fn end(mut self, failed: Option<&Refusal>) {
        if let Some(refusal) = failed {
            self.0.iter_mut().for_each(|span| span.fail(refusal));
        }
    }
}
