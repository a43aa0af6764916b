//! `quorate subscription …`

use super::backoff;
use super::look::{self, PeekArgs};
use super::publish::header;
use super::read::time;
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand, ValueEnum};
use quorate_client::{Client, Headers, SeekTo, Start, v1};
use serde_json::{Value, json};
use std::time::Duration;

/// Selects every message.
pub(super) const EVERYTHING: &str = "#";

const EXAMPLES: &str = "\
A subscription gets each message once that matches one of its bindings. A binding is a topic and a filter over
subjects: '*' stands for one word, '#' for any number of words.

Examples:
  quorate subscription create packing orders '*.paid'     create, and bind to orders where *.paid matches
  quorate subscription create archive orders              everything of orders
  quorate subscription create careful orders --max-attempts 5 --backoff exponential:1s:10m --dead-letter-topic failed
  quorate subscription create ledger orders --kind failover    one consumer at a time, others stand by
  quorate subscription create billing orders --kind key-shared     many consumers, each key in its order
  quorate subscription create audit orders --start earliest     also everything that orders keeps
  quorate subscription bind archive returns '#'
  quorate subscription bind vip orders --header tier=gold --header tier=platinum --match any
  quorate subscription describe packing
  quorate subscription purge packing
  quorate subscription mark packing before-release
  quorate subscription seek packing mark:before-release
  quorate subscription seek audit time:2026-01-31T12:00:00Z
  quorate subscription peek packing --state leased";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubscriptionArgs {
    #[command(subcommand)]
    command: SubscriptionCommand,
}

#[derive(Debug, Subcommand)]
enum SubscriptionCommand {
    /// Create a subscription, with a first binding if a topic is given.
    Create {
        /// Its name.
        subscription: String,
        /// Bind it to this topic.
        topic: Option<String>,
        /// Where the subject matches.
        #[arg(default_value = EVERYTHING)]
        filter: String,
        #[command(flatten)]
        settings: Settings,
        /// Where to begin: latest, earliest (what the topic keeps), offset:N, or time:T (RFC 3339, or milliseconds since 1970).
        #[arg(long, value_name = "WHERE", default_value = "latest", value_parser = start)]
        start: Start,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the subscriptions of the namespace.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a subscription, its bindings and where its messages went.
    Describe {
        /// Its name.
        subscription: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a subscription; its consumers are closed.
    Delete {
        /// Its name.
        subscription: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Route to it what is published from now on, where the filter matches; with --start also what the topic keeps.
    Bind {
        #[command(flatten)]
        binding: Binding,
        /// Where to begin: latest, earliest (what the topic keeps), offset:N, or time:T (RFC 3339, or milliseconds since 1970).
        /// Only the first binding of a topic may begin in the past.
        #[arg(long, value_name = "WHERE", default_value = "latest", value_parser = start)]
        start: Start,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a binding back. What was routed stays.
    Unbind {
        #[command(flatten)]
        binding: Binding,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Drop what waits in a subscription. What consumers hold is left to them; what it has not caught up with comes later.
    Purge {
        /// Its name.
        subscription: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Move a subscription. What is unsettled in it is dropped, also what consumers hold; what its topics keep from there on comes,
    /// acked or not.
    Seek {
        /// Its name.
        subscription: String,
        /// Where to: latest, earliest (all that its topics keep), offset:N (of its only topic), time:T (RFC 3339, or milliseconds
        /// since 1970) or mark:NAME.
        #[arg(value_name = "WHERE", value_parser = seek_to)]
        to: SeekTo,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remember where a subscription is, to go back with seek; a mark of that name is replaced. It keeps no messages.
    Mark {
        /// The subscription.
        subscription: String,
        /// Under this name.
        mark: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Forget a mark.
    Unmark {
        /// The subscription.
        subscription: String,
        /// Its mark.
        mark: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what is unsettled in a subscription, without taking it.
    Peek(PeekArgs),
}

/// What a subscription is created with.
#[derive(Args, Debug)]
struct Settings {
    /// A message that is not settled for so long is delivered again.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    lease_timeout: Duration,
    /// Give a message up after so many attempts [default: never].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// What a message waits that was nacked or not settled in time: fixed:DELAY, linear:STEP:MAX (a step more after each
    /// attempt) or exponential:FIRST:MAX (twice as long after each) [default: nothing].
    #[arg(long, value_name = "BACKOFF", value_parser = backoff::parse)]
    backoff: Option<v1::Backoff>,
    /// Where rejected messages go, and those that are given up. It must be there [default: they are dropped].
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    /// What expires goes there as well [default: it is counted and dropped].
    #[arg(long, requires = "dead_letter_topic")]
    dead_letter_expired: bool,
    /// Messages of a higher priority come first.
    #[arg(long)]
    priorities: bool,
    /// Which of its consumers get its messages: all of them, the only one, or the active one.
    #[arg(long, value_enum, default_value_t = Kind::Shared)]
    kind: Kind,
}

impl Settings {
    fn config(self) -> v1::SubscriptionConfig {
        v1::SubscriptionConfig {
            lease_timeout_ms: u64::try_from(self.lease_timeout.as_millis()).unwrap_or(u64::MAX),
            max_attempts: self.max_attempts,
            backoff: self.backoff,
            dead_letter_topic: self.dead_letter_topic.unwrap_or_default(),
            dead_letter_expired: self.dead_letter_expired,
            priorities: self.priorities,
            kind: self.kind.message().into(),
        }
    }
}

/// Which consumers of a subscription get its messages.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Each message goes to one of them that has credit.
    Shared,
    /// There is one, and another one is refused.
    Exclusive,
    /// One of them gets everything; when it is gone, the next.
    Failover,
    /// Each message goes to one of them, and those of a key to the same one while it holds any.
    KeyShared,
}

impl Kind {
    fn message(self) -> v1::SubscriptionKind {
        match self {
            Self::Shared => v1::SubscriptionKind::Shared,
            Self::Exclusive => v1::SubscriptionKind::Exclusive,
            Self::Failover => v1::SubscriptionKind::Failover,
            Self::KeyShared => v1::SubscriptionKind::KeyShared,
        }
    }
}

#[derive(Args, Debug)]
struct Binding {
    /// The subscription.
    subscription: String,
    /// The topic.
    topic: String,
    /// Where the subject matches.
    #[arg(default_value = EVERYTHING)]
    filter: String,
    /// Where a message has this header, too; up to 16. It takes a step longer: somebody has to look.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How many of the headers a message must have.
    #[arg(long = "match", value_enum, default_value_t = Rule::All, requires = "headers")]
    rule: Rule,
}

/// How many of the wanted headers a message must have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    /// Each of them.
    All,
    /// One of them at least.
    Any,
}

impl Binding {
    fn headers(&self) -> Option<Headers> {
        let pairs = self.headers.clone();
        (!pairs.is_empty()).then(|| match self.rule {
            Rule::All => Headers::all(pairs),
            Rule::Any => Headers::any(pairs),
        })
    }

    /// What it selects, as it is typed.
    fn text(&self) -> String {
        selected(&self.filter, self.rule, self.headers.iter().map(|(n, v)| format!("{n}={v}")))
    }

    fn document(&self) -> Value {
        let mut document =
            json!({ "topic": self.topic, "subscription": self.subscription, "filter": self.filter });
        if !self.headers.is_empty() {
            let headers: Vec<Value> =
                self.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            document["headers"] = json!({ "match": rule_name(self.rule), "headers": headers });
        }
        document
    }
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::All => "all",
        Rule::Any => "any",
    }
}

fn selected(filter: &str, rule: Rule, headers: impl Iterator<Item = String>) -> String {
    let headers = headers.collect::<Vec<_>>().join(" ");
    let rule = rule_name(rule);
    if headers.is_empty() { filter.to_owned() } else { format!("{filter} with {rule} of {headers}") }
}

fn rule_of(wanted: &v1::HeaderMatch) -> Rule {
    match wanted.rule() {
        v1::MatchRule::Any => Rule::Any,
        v1::MatchRule::All | v1::MatchRule::Unspecified => Rule::All,
    }
}

/// What a binding selects, as it is typed.
pub(super) fn binding_text(binding: &v1::Binding) -> String {
    let Some(wanted) = &binding.headers else { return binding.filter.clone() };
    let header = |h: &v1::Header| format!("{}={}", h.name, h.value.escape_ascii());
    selected(&binding.filter, rule_of(wanted), wanted.headers.iter().map(header))
}

/// `latest`, `earliest`, `offset:N` or `time:T`.
fn start(text: &str) -> Result<Start, String> {
    match text.split_once(':') {
        None if text == "latest" => Ok(Start::Latest),
        None if text == "earliest" => Ok(Start::Earliest),
        Some(("offset", offset)) => {
            offset.parse().map(Start::Offset).map_err(|_| format!("{offset:?} is no offset: offset:1000"))
        }
        Some(("time", at)) => time(at).map(Start::Time),
        _ => Err(format!("{text:?} is none of latest, earliest, offset:N, time:2026-01-31T12:00:00Z")),
    }
}

/// As a start, or `mark:NAME`.
fn seek_to(text: &str) -> Result<SeekTo, String> {
    if let Some(("mark", name)) = text.split_once(':') {
        return Ok(SeekTo::Mark(name.to_owned()));
    }
    let to = start(text).map_err(|error| format!("{error}, mark:NAME"))?;
    Ok(match to {
        Start::Latest => SeekTo::Latest,
        Start::Earliest => SeekTo::Earliest,
        Start::Offset(offset) => SeekTo::Offset(offset),
        Start::Time(time) => SeekTo::Time(time),
    })
}

pub(crate) async fn run(args: SubscriptionArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        SubscriptionCommand::Create { subscription, topic, filter, settings, start, client } => {
            let client = connect(&client).await?;
            let bound = topic.as_deref().map(|topic| (topic, filter.as_str()));
            create(&client, &subscription, bound, (settings.config(), start), output).await
        }
        SubscriptionCommand::List { client } => list(&connect(&client).await?, output).await,
        SubscriptionCommand::Describe { subscription, client } => {
            describe(&connect(&client).await?, &subscription, output).await
        }
        SubscriptionCommand::Delete { subscription: name, client } => {
            connect(&client).await?.delete_subscription(&name).await?;
            output.result(format!("subscription {name} is deleted"), &json!({ "subscription": name }))
        }
        SubscriptionCommand::Bind { binding, start, client } => {
            let (Binding { subscription, topic, filter, .. }, client) = (&binding, connect(&client).await?);
            match binding.headers() {
                None => client.bind_from(topic, subscription, filter, start).await?,
                Some(headers) => client.bind_headers(topic, subscription, (filter, &headers), start).await?,
            }
            output.result(format!("{topic} {} -> {subscription}", binding.text()), &binding.document())
        }
        SubscriptionCommand::Unbind { binding, client } => {
            let (Binding { subscription, topic, filter, .. }, client) = (&binding, connect(&client).await?);
            match binding.headers() {
                None => client.unbind(topic, subscription, filter).await?,
                Some(headers) => client.unbind_headers(topic, subscription, (filter, &headers)).await?,
            }
            let text = format!("{topic} {} no longer goes to {subscription}", binding.text());
            output.result(text, &binding.document())
        }
        SubscriptionCommand::Purge { subscription: name, client } => {
            let messages = connect(&client).await?.purge_subscription(&name).await?;
            let text = format!("{messages} messages dropped from {name}");
            output.result(text, &json!({ "subscription": name, "purged": messages }))
        }
        SubscriptionCommand::Seek { subscription: name, to, client } => {
            let messages = connect(&client).await?.seek_subscription(&name, to).await?;
            let text = format!("{name} is moved; {messages} messages taken out of it");
            output.result(text, &json!({ "subscription": name, "purged": messages }))
        }
        SubscriptionCommand::Mark { subscription: name, mark, client } => {
            connect(&client).await?.mark_subscription(&name, &mark).await?;
            let text = format!("{name} is marked: quorate subscription seek {name} mark:{mark}");
            output.result(text, &json!({ "subscription": name, "mark": mark }))
        }
        SubscriptionCommand::Unmark { subscription: name, mark, client } => {
            connect(&client).await?.delete_mark(&name, &mark).await?;
            let text = format!("{name} has no mark {mark} any more");
            output.result(text, &json!({ "subscription": name, "mark": mark }))
        }
        SubscriptionCommand::Peek(args) => look::peek(args, output).await,
    }
}

async fn create(
    client: &Client,
    name: &str,
    bound: Option<(&str, &str)>,
    (config, start): (v1::SubscriptionConfig, Start),
    output: Output,
) -> Result<(), Failure> {
    client.create_subscription_from(name, config, bound.as_slice(), start).await?;
    let (topic, filter) = bound.unzip();
    let bound = bound.map_or_else(
        || format!("; it gets nothing before: quorate subscription bind {name} TOPIC"),
        |(topic, filter)| format!(" and gets {filter} of {topic}"),
    );
    let document = json!({ "subscription": name, "topic": topic, "filter": filter });
    output.result(format!("subscription {name} is there{bound}"), &document)
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let all = client.subscriptions().await?;
    let header = ["SUBSCRIPTION", "READY", "LEASED", "ACKED", "REDELIVERED", "CONSUMERS", "GROUP"];
    output.table(&header, all.iter().map(row).collect(), &all.iter().map(document).collect::<Vec<_>>())
}

async fn describe(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let described = client.describe_subscription(name).await?;
    let subscription = described.subscription.unwrap_or_default();
    let ledger = subscription.ledger.unwrap_or_default();
    let config = subscription.config.clone().unwrap_or_default();
    let since = subscription.oldest_stored_ms.map(|ms| format!(", stored at {}", look::time_text(ms)));
    let oldest = subscription.oldest_unsettled.map_or("nothing".to_owned(), |position| {
        format!("from position {position}{}", since.unwrap_or_default())
    });
    let mut text = format!(
        "subscription   {}\nkind           {}\nconsumers      {}\nlease timeout  {}\nunsettled      {oldest}\ngroup          {}",
        subscription.name,
        kind_name(&subscription),
        subscription.consumers,
        humantime::format_duration(Duration::from_millis(config.lease_timeout_ms)),
        subscription.group,
    );
    text += &format!(
        "\nmax attempts   {}\nbackoff        {}\ndead letters   {}",
        config.max_attempts.map_or("unlimited".to_owned(), |n| n.to_string()),
        backoff::show(config.backoff.as_ref()),
        if config.dead_letter_topic.is_empty() { "dropped" } else { &config.dead_letter_topic },
    );
    text +=
        if config.dead_letter_expired { "\nexpired        dead letters" } else { "\nexpired        dropped" };
    text += if config.priorities { "\npriorities     yes" } else { "\npriorities     no" };
    for (label, count) in counters(&ledger) {
        text += &format!("\n{label:<15}{count}");
    }
    for binding in &described.bindings {
        text += &format!("\nbinding        {} {}", binding.topic, binding_text(binding));
    }
    for at in &described.catching_up {
        text += &format!("\ncatching up    {} from {} to {}", at.topic, at.offset, at.next_offset);
    }
    for mark in &described.marks {
        let places = mark.topics.iter().map(|t| format!("{} {}", t.topic, t.offset)).collect::<Vec<_>>();
        text += &format!("\nmark           {}: {}", mark.name, places.join(", "));
    }
    for consumer in &described.consumers {
        let active = if consumer.active { ", active" } else { "" };
        text += &format!(
            "\nconsumer       {} on node {}: holds {} of {}, priority {}{active}",
            consumer.consumer, consumer.node, consumer.outstanding, consumer.credit, consumer.priority
        );
    }
    let mut document = document(&subscription);
    document["catching_up"] = described.catching_up.iter().map(catch_up_document).collect();
    document["marks"] = described.marks.iter().map(mark_document).collect();
    document["attached"] = described.consumers.iter().map(consumer_document).collect();
    document["bindings"] = bindings_document(&described.bindings);
    output.result(text, &document)
}

fn kind_name(subscription: &v1::Subscription) -> &'static str {
    match subscription.config.as_ref().map(v1::SubscriptionConfig::kind).unwrap_or_default() {
        v1::SubscriptionKind::Exclusive => "exclusive",
        v1::SubscriptionKind::Failover => "failover",
        v1::SubscriptionKind::KeyShared => "key-shared",
        v1::SubscriptionKind::Shared | v1::SubscriptionKind::Unspecified => "shared",
    }
}

fn catch_up_document(at: &v1::CatchUp) -> Value {
    json!({ "topic": at.topic, "offset": at.offset, "next_offset": at.next_offset })
}

fn mark_document(mark: &v1::Mark) -> Value {
    let topic = |t: &v1::MarkedTopic| json!({ "topic": t.topic, "offset": t.offset });
    json!({ "mark": mark.name, "at_ms": mark.at_ms, "topics": mark.topics.iter().map(topic).collect::<Vec<_>>() })
}

fn consumer_document(consumer: &v1::AttachedConsumer) -> Value {
    json!({
        "consumer": consumer.consumer,
        "node": consumer.node,
        "credit": consumer.credit,
        "outstanding": consumer.outstanding,
        "priority": consumer.priority,
        "active": consumer.active,
    })
}

/// Where messages went, in the order of their life.
fn counters(ledger: &v1::Ledger) -> [(&'static str, u64); 10] {
    [
        ("routed", ledger.routed),
        ("ready", ledger.ready),
        ("leased", ledger.leased),
        ("delayed", ledger.delayed),
        ("acked", ledger.acked),
        ("expired", ledger.expired),
        ("dead_lettered", ledger.dead_lettered),
        ("dropped", ledger.dropped),
        ("purged", ledger.purged),
        ("redelivered", ledger.redelivered),
    ]
}

fn row(subscription: &v1::Subscription) -> Vec<String> {
    let ledger = subscription.ledger.unwrap_or_default();
    vec![
        subscription.name.clone(),
        ledger.ready.to_string(),
        ledger.leased.to_string(),
        ledger.acked.to_string(),
        ledger.redelivered.to_string(),
        subscription.consumers.to_string(),
        subscription.group.to_string(),
    ]
}

fn document(subscription: &v1::Subscription) -> Value {
    let config = subscription.config.clone().unwrap_or_default();
    let mut document = json!({
        "subscription": subscription.name,
        "consumers": subscription.consumers,
        "kind": kind_name(subscription),
        "lease_timeout_ms": config.lease_timeout_ms,
        "max_attempts": config.max_attempts,
        "backoff": config.backoff.as_ref().map(|backoff| backoff::show(Some(backoff))),
        "dead_letter_expired": config.dead_letter_expired,
        "priorities": config.priorities,
        "dead_letter_topic": Some(config.dead_letter_topic).filter(|topic| !topic.is_empty()),
        "oldest_unsettled": subscription.oldest_unsettled,
        "oldest_stored_ms": subscription.oldest_stored_ms,
        "group": subscription.group,
    });
    for (name, count) in counters(&subscription.ledger.unwrap_or_default()) {
        document[name] = count.into();
    }
    document
}

/// Bindings as an array.
pub(super) fn bindings_document(bindings: &[v1::Binding]) -> Value {
    let document = |b: &v1::Binding| {
        let mut document = json!({ "topic": b.topic, "subscription": b.subscription, "filter": b.filter });
        if let Some(wanted) = &b.headers {
            let header =
                |h: &v1::Header| json!({ "name": h.name, "value": String::from_utf8_lossy(&h.value) });
            let headers: Vec<Value> = wanted.headers.iter().map(header).collect();
            document["headers"] = json!({ "match": rule_name(rule_of(wanted)), "headers": headers });
        }
        document
    };
    bindings.iter().map(document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Millis;

    #[test]
    fn a_place_to_move_to_is_a_start_or_a_mark() {
        assert_eq!(seek_to("latest"), Ok(SeekTo::Latest));
        assert_eq!(seek_to("earliest"), Ok(SeekTo::Earliest));
        assert_eq!(seek_to("offset:17"), Ok(SeekTo::Offset(17)));
        assert_eq!(seek_to("time:1500"), Ok(SeekTo::Time(Millis::new(1_500))));
        assert_eq!(seek_to("mark:before-release"), Ok(SeekTo::Mark("before-release".to_owned())));
        assert!(seek_to("mark").is_err());
    }

    #[test]
    fn a_start_is_typed_as_a_word_an_offset_or_a_time() {
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("earliest"), Ok(Start::Earliest));
        assert_eq!(start("offset:17"), Ok(Start::Offset(17)));
        assert_eq!(start("time:1500"), Ok(Start::Time(Millis::new(1_500))));
        assert_eq!(start("time:1970-01-01T00:00:02Z"), Ok(Start::Time(Millis::new(2_000))));
        for wrong in ["", "first", "offset", "offset:-1", "time:yesterday", "earliest:1"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}
