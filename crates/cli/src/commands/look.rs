//! `quorate subscription peek` and `quorate topic trace`.

use super::consume::{message_document, message_line};
use super::time;
use crate::args::ClientArgs;
use crate::clients::{connect, each_shard};
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, ValueEnum};
use quorate_client::{Client, PeekOptions, Peeked, PeekedState, TraceRoute, Traced, v1};
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(crate) struct PeekArgs {
    /// The subscription.
    subscription: String,
    /// Begin at this position; they are counted on each shard.
    #[arg(long, value_name = "N", default_value_t = 0)]
    position: u64,
    /// At most N messages of each shard.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Only messages in this state; may be given more than once.
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Wait until the replica that answers has everything that was confirmed before.
    #[arg(long)]
    linearizable: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// The topic.
    topic: String,
    /// The message's offset, as its receipt says it. Of a topic that is spread over shards: with --shard.
    offset: u64,
    /// Wait until the replica that answers has everything that was confirmed before.
    #[arg(long)]
    linearizable: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// How a message is unsettled.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// It waits for a consumer.
    Ready,
    /// A consumer has it.
    Leased,
    /// It waits for its time.
    Delayed,
}

impl State {
    fn message(self) -> v1::PeekState {
        match self {
            Self::Ready => v1::PeekState::Ready,
            Self::Leased => v1::PeekState::Leased,
            Self::Delayed => v1::PeekState::Delayed,
        }
    }
}

pub(super) async fn peek(args: PeekArgs, output: Output) -> Result<(), Failure> {
    let client = connect(&args.client).await?;
    for (shard, client) in each_shard(&client).await? {
        peek_at(&args, shard, &client, output).await?;
    }
    Ok(())
}

/// What is in it on one shard, of which the number is shown where there are several.
async fn peek_at(
    args: &PeekArgs,
    shard: Option<u32>,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let on = shard.map(|shard| format!("{shard}/")).unwrap_or_default();
    let mut next = Some(args.position);
    let mut left = args.limit;
    while let Some(position) = next.filter(|_| left > 0) {
        let options = PeekOptions {
            position,
            limit: u32::try_from(left).unwrap_or(u32::MAX),
            states: args.state.iter().map(|state| state.message()).collect(),
            linearizable: args.linearizable,
        };
        let page = client.peek(&args.subscription, options).await?;
        left = left.saturating_sub(page.messages.len() as u64);
        for peeked in &page.messages {
            if output.is_json() {
                output.document(&peeked_document(shard, peeked))?;
            } else {
                let line = message_line(&peeked.topic, peeked.stored.offset, &peeked.stored.message);
                let state = state_text(peeked.attempts, &peeked.state);
                output.text(format!("{on}{}  {line}  ({state})", peeked.position))?;
            }
        }
        next = page.next_position;
    }
    Ok(())
}

fn peeked_document(shard: Option<u32>, peeked: &Peeked) -> Value {
    let stored = &peeked.stored;
    let mut document =
        message_document(&peeked.topic, stored.offset, stored.timestamp.get(), &stored.message);
    document.insert("shard".to_owned(), shard.unwrap_or_default().into());
    document.insert("place".to_owned(), place_document(peeked.position, peeked.attempts, &peeked.state));
    Value::Object(document)
}

pub(super) async fn trace(args: TraceArgs, output: Output) -> Result<(), Failure> {
    let traced = connect(&args.client).await?.trace(&args.topic, args.offset, args.linearizable).await?;
    output.result(
        trace_text(&args.topic, args.offset, &traced),
        &trace_document(&args.topic, args.offset, &traced),
    )
}

fn trace_text(topic: &str, offset: u64, traced: &Traced) -> String {
    let mut text = match &traced.message {
        Some(stored) => format!(
            "{}\nstored         {}\nentry          {} of group {}",
            message_line(topic, offset, &stored.message),
            time::millis(stored.timestamp.get()),
            traced.index,
            traced.group
        ),
        None => format!("{topic}@{offset}  is not kept any more: whoever got it has settled it"),
    };
    text += &format!("\nremembered     since {}", time::millis(traced.remembers_since.get()));
    for route in &traced.routes {
        text += &format!("\n{:<15}{}", route.subscription, route_text(route));
    }
    text
}

fn route_text(route: &TraceRoute) -> String {
    let known = match route.outcome {
        v1::TraceOutcome::Unsettled => {
            let place = |(position, attempts, state): &(u64, u32, PeekedState)| {
                format!("at position {position}, {}", state_text(*attempts, state))
            };
            route.places.iter().map(place).collect::<Vec<_>>().join("; ")
        }
        v1::TraceOutcome::NotReached => "not reached yet".to_owned(),
        v1::TraceOutcome::Ended => String::new(),
        v1::TraceOutcome::Gone => "settled before that is remembered, or never routed".to_owned(),
        v1::TraceOutcome::Unknown | v1::TraceOutcome::Unspecified => "not known".to_owned(),
    };
    let over = route.ended.iter().map(ended_text);
    let known = over.chain(Some(known).filter(|known| !known.is_empty())).collect::<Vec<_>>().join("; ");
    let again = if route.ahead && !route.places.is_empty() { "; comes again" } else { "" };
    let filters = if route.filters.is_empty() {
        String::new()
    } else {
        format!(" (selected by {})", route.filters.join(" "))
    };
    format!("{known}{again}{filters}")
}

fn ended_text(ended: &v1::Ended) -> String {
    let how = match ended.how() {
        v1::EndedHow::DeadLettered if ended.dead_letter_topic.is_empty() => {
            format!("dead-lettered ({})", ended.reason)
        }
        v1::EndedHow::DeadLettered => {
            format!(
                "dead-lettered ({}) to {}@{}",
                ended.reason, ended.dead_letter_topic, ended.dead_letter_offset
            )
        }
        v1::EndedHow::Dropped => format!("dropped ({})", ended.reason),
        how => ended_name(how).to_owned(),
    };
    let by =
        if ended.consumer.is_empty() { String::new() } else { format!(" by consumer {}", ended.consumer) };
    let attempt = if ended.attempts > 0 { format!(" in attempt {}", ended.attempts) } else { String::new() };
    format!("{how} at {}{attempt}{by}", time::millis(ended.at_ms))
}

fn ended_name(how: v1::EndedHow) -> &'static str {
    match how {
        v1::EndedHow::Acked => "acked",
        v1::EndedHow::Expired => "expired",
        v1::EndedHow::DeadLettered => "dead_lettered",
        v1::EndedHow::Dropped => "dropped",
        v1::EndedHow::Purged => "purged",
        v1::EndedHow::Unspecified => "ended",
    }
}

fn ended_document(ended: &v1::Ended) -> Value {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let to = text(&ended.dead_letter_topic);
    json!({
        "how": ended_name(ended.how()),
        "reason": text(&ended.reason),
        "dead_letter_offset": to.as_ref().map(|_| ended.dead_letter_offset),
        "dead_letter_topic": to,
        "attempts": ended.attempts,
        "consumer": text(&ended.consumer),
        "at_ms": ended.at_ms,
    })
}

fn trace_document(topic: &str, offset: u64, traced: &Traced) -> Value {
    let message = traced.message.as_ref().map(|stored| {
        Value::Object(message_document(topic, stored.offset, stored.timestamp.get(), &stored.message))
    });
    let routes = traced.routes.iter().map(|route| {
        let places = route
            .places
            .iter()
            .map(|(position, attempts, state)| place_document(*position, *attempts, state));
        json!({
            "subscription": route.subscription,
            "filters": route.filters,
            "outcome": outcome_name(route.outcome),
            "places": places.collect::<Vec<_>>(),
            "ahead": route.ahead,
            "ended": route.ended.iter().map(ended_document).collect::<Vec<_>>(),
        })
    });
    json!({
        "topic": topic,
        "offset": offset,
        "message": message,
        "group": traced.group,
        "index": Some(traced.index).filter(|_| traced.message.is_some()),
        "remembers_since_ms": traced.remembers_since.get(),
        "routes": routes.collect::<Vec<_>>(),
    })
}

fn outcome_name(outcome: v1::TraceOutcome) -> &'static str {
    match outcome {
        v1::TraceOutcome::Unsettled => "unsettled",
        v1::TraceOutcome::NotReached => "not_reached",
        v1::TraceOutcome::Ended => "ended",
        v1::TraceOutcome::Gone => "gone",
        v1::TraceOutcome::Unknown | v1::TraceOutcome::Unspecified => "unknown",
    }
}

fn place_document(position: u64, attempts: u32, state: &PeekedState) -> Value {
    let mut document = json!({ "position": position, "attempts": attempts });
    let (name, until) = match state {
        PeekedState::Ready => ("ready", None),
        PeekedState::Delayed { until } => ("delayed", Some(until.get())),
        PeekedState::Leased { consumer, node, until } => {
            document["consumer"] = consumer.as_str().into();
            document["node"] = node.map(|node| node.get()).into();
            ("leased", Some(until.get()))
        }
        PeekedState::Unknown => ("unknown", None),
    };
    document["state"] = name.into();
    document["until_ms"] = until.into();
    document
}

fn state_text(attempts: u32, state: &PeekedState) -> String {
    let what = match state {
        PeekedState::Ready => "ready".to_owned(),
        PeekedState::Delayed { until } => format!("delayed until {}", time::millis(until.get())),
        PeekedState::Leased { consumer, node, until } => {
            let node = node.map(|node| format!(" on node {node}")).unwrap_or_default();
            format!("leased to {consumer}{node} until {}", time::millis(until.get()))
        }
        PeekedState::Unknown => "in a state that this version does not know".to_owned(),
    };
    format!("{what}, attempts {attempts}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_client::{Message, StoredMessage};
    use quorate_types::{Millis, NodeId};

    #[test]
    fn a_trace_says_where_a_message_is_and_what_nobody_knows() {
        let leased = PeekedState::Leased {
            consumer: "4.9".to_owned(),
            node: Some(NodeId::new(2)),
            until: Millis::new(1_500),
        };
        let route = |subscription: &str, outcome, places| TraceRoute {
            subscription: subscription.to_owned(),
            filters: vec!["#".to_owned()],
            outcome,
            places,
            ahead: false,
            ended: Vec::new(),
        };
        let acked = v1::Ended {
            how: v1::EndedHow::Acked.into(),
            attempts: 2,
            consumer: "4.9".to_owned(),
            at_ms: 1_200,
            ..v1::Ended::default()
        };
        let dropped = v1::Ended {
            how: v1::EndedHow::Dropped.into(),
            reason: "backlog_full".to_owned(),
            at_ms: 1_400,
            ..v1::Ended::default()
        };
        let message = Message::new("a book").subject("7.paid");
        let stored = StoredMessage { offset: 3, shard: 0, timestamp: Millis::new(1_000), message };
        let traced = Traced {
            message: Some(stored),
            group: 1,
            index: 8,
            remembers_since: Millis::new(500),
            routes: vec![
                route("packing", v1::TraceOutcome::Unsettled, vec![(5, 2, leased)]),
                route("audit", v1::TraceOutcome::Gone, Vec::new()),
                TraceRoute {
                    ended: vec![acked, dropped],
                    ..route("billing", v1::TraceOutcome::Ended, Vec::new())
                },
            ],
        };
        assert_eq!(
            trace_text("orders", 3, &traced),
            "orders@3  7.paid  a book\n\
             stored         1970-01-01T00:00:01.000Z\n\
             entry          8 of group 1\n\
             remembered     since 1970-01-01T00:00:00.500Z\n\
             packing        at position 5, leased to 4.9 on node 2 until 1970-01-01T00:00:01.500Z, attempts 2 (selected by #)\n\
             audit          settled before that is remembered, or never routed (selected by #)\n\
             billing        acked at 1970-01-01T00:00:01.200Z in attempt 2 by consumer 4.9; \
             dropped (backlog_full) at 1970-01-01T00:00:01.400Z (selected by #)"
        );
        let document = trace_document("orders", 3, &traced);
        assert_eq!(document["message"]["payload"], "a book");
        assert_eq!(document["routes"][0]["places"][0]["state"], "leased");
        assert_eq!(document["routes"][0]["places"][0]["until_ms"], 1_500);
        assert_eq!(document["routes"][1]["outcome"], "gone");
        let ended = &document["routes"][2]["ended"];
        assert_eq!((&ended[0]["how"], &ended[1]["reason"]), (&json!("acked"), &json!("backlog_full")));
        let gone = Traced { message: None, index: 0, ..traced };
        assert_eq!(trace_document("orders", 3, &gone)["index"], Value::Null);
    }
}
