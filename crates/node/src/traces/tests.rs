//! Which messages are followed.

use super::*;
use crate::metrics::Metrics;
use prost::Message as _;
use quorate_types::Millis;
use quorate_wire::v1;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Millis {
        Millis::new(5_000)
    }
}

impl Entropy for Fixed {
    fn next_u64(&self) -> u64 {
        7
    }
}

fn traces(per_million: u32) -> (Traces, mpsc::Receiver<otlp::Span>) {
    let (ended, told) = mpsc::channel(2);
    let inner = Inner {
        node: NodeId::new(3),
        share: share(per_million),
        clock: Arc::new(Fixed),
        entropy: Arc::new(Fixed),
        ended,
        metrics: Metrics::new(Vec::new()).data,
    };
    (Traces(Some(Arc::new(inner))), told)
}

fn message(traceparent: &str) -> Bytes {
    let header =
        |name: &str, value: &str| v1::Header { name: name.to_owned(), value: value.to_owned().into() };
    let headers = vec![header("other", "x"), header("traceparent", traceparent)];
    v1::Message { headers, ..Default::default() }.encode_to_vec().into()
}

const LOW: &str = "00-ffffffffffffffff1000000000000000-00f067aa0ba902b7-01";
const HIGH: &str = "00-0000000000000000f000000000000000-00f067aa0ba902b7-01";

#[test]
fn only_what_is_sampled_is_followed_and_of_that_the_share_that_all_nodes_agree_on() {
    let follows = |traces: &Traces, value: &str| traces.of_message(&message(value)).is_some();
    let (all, _told) = traces(1_000_000);
    assert!(follows(&all, LOW) && follows(&all, HIGH));
    assert!(!follows(&all, &LOW.replace("-01", "-00")), "its client does not want it");
    assert!(!follows(&all, "nonsense"));
    let (half, _told) = traces(500_000);
    assert!(follows(&half, LOW) && !follows(&half, HIGH));
    let (none, _told) = traces(0);
    assert!(!follows(&none, LOW));
    assert!(!follows(&Traces::default(), LOW), "off");
}

#[tokio::test(start_paused = true)]
async fn a_span_is_told_when_it_ends_with_the_clients_span_as_its_parent() {
    let (traces, mut told) = traces(1_000_000);
    let messages = [message(LOW), message("none")];
    let spans = traces.of_messages(Kind::Publish, &messages, |span| span.say("topic", "orders"));
    tokio::time::advance(std::time::Duration::from_millis(20)).await;
    assert!(told.try_recv().is_err(), "it has not ended");
    let refusal = quorate_types::Refusal::new(quorate_types::Reason::NoQuorum, "no");
    spans.end(Some(&refusal));
    let span = told.try_recv().unwrap();
    let parent = TraceParent::parse(LOW.as_bytes()).unwrap();
    assert_eq!((span.trace_id, span.parent_span_id), (parent.trace().to_vec(), parent.span().to_vec()));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000_000_000, 5_020_000_000));
    assert_eq!(span.name, "quorate publish");
    assert!(span.status.unwrap().message.contains("NO_QUORUM"));
    assert!(told.try_recv().is_err(), "the other one is not followed");
}

#[test]
fn messages_in_a_fragment_are_found_and_spans_that_nobody_takes_are_dropped() {
    let (traces, mut told) = traces(1_000_000);
    let fragment =
        quorate_machine::block::fragment(&[message(LOW), message("none"), message(HIGH), message(LOW)]);
    traces.of_fragment(Kind::Commit, &Rope::from(fragment), 4, |_| {}).end(None);
    let told: Vec<String> = std::iter::from_fn(|| told.try_recv().ok()).map(|span| span.name).collect();
    assert_eq!(told, ["quorate commit", "quorate commit"], "two of three: no more may wait here");
}
