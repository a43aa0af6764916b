//! `quorate subscription …`

mod backlog;
pub(super) mod binding;
mod place;
mod show;

use super::backoff;
use super::look::{self, PeekArgs};
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use backlog::WhenFull;
use binding::{Binding, EVERYTHING};
use clap::{Args, Subcommand, ValueEnum};
use place::{seek_to, start};
use quorate_client::{Client, SeekTo, Start, v1};
use serde_json::json;
use std::time::Duration;

const EXAMPLES: &str = "\
A subscription gets each message once that matches one of its bindings. A binding is a topic and a filter over
subjects: '*' stands for one word, '#' for any number of words.

Examples:
  quorate subscription create packing orders '*.paid'     create, and bind to orders where *.paid matches
  quorate subscription create archive orders              everything of orders
  quorate subscription create careful orders --max-attempts 5 --backoff exponential:1s:10m --dead-letter-topic failed
  quorate subscription create ledger orders --kind failover    one consumer at a time, others stand by
  quorate subscription create billing orders --kind key-shared     many consumers, each key in its order
  quorate subscription create latest orders --backlog-messages-max 1000 --when-full drop-oldest
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
    /// Move a subscription. What is unsettled in it is dropped, also what consumers hold; what its topics keep from
    /// there on comes, acked or not.
    Seek {
        /// Its name.
        subscription: String,
        /// Where to: latest, earliest (all that its topics keep), offset:N (of its only topic), time:T (RFC 3339, or
        /// milliseconds since 1970) or mark:NAME.
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
    /// At most so many messages are unsettled in it: ready, leased or delayed [default: no limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    backlog_messages_max: Option<u64>,
    /// At most so many bytes, as 500MB or 1GiB [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = backlog::size)]
    backlog_bytes_max: Option<u64>,
    /// What gives way when it is full: what is published, which is refused, or its oldest messages, whoever has them.
    #[arg(long, value_enum, default_value_t = WhenFull::RejectPublish)]
    when_full: WhenFull,
    /// Messages of a higher priority come first.
    #[arg(long)]
    priorities: bool,
    /// Which of its consumers get its messages: all of them, the only one, or the active one.
    #[arg(long, value_enum, default_value_t = Kind::Shared)]
    kind: Kind,
}

impl Settings {
    fn config(self) -> v1::SubscriptionConfig {
        let limits = (self.backlog_messages_max, self.backlog_bytes_max);
        v1::SubscriptionConfig {
            lease_timeout_ms: u64::try_from(self.lease_timeout.as_millis()).unwrap_or(u64::MAX),
            max_attempts: self.max_attempts,
            backoff: self.backoff,
            dead_letter_topic: self.dead_letter_topic.unwrap_or_default(),
            dead_letter_expired: self.dead_letter_expired,
            backlog: backlog::limit(limits, self.when_full),
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

pub(crate) async fn run(args: SubscriptionArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        SubscriptionCommand::Create { subscription, topic, filter, settings, start, client } => {
            let client = connect(&client).await?;
            let bound = topic.as_deref().map(|topic| (topic, filter.as_str()));
            create(&client, &subscription, bound, (settings.config(), start), output).await
        }
        SubscriptionCommand::List { client } => show::list(&connect(&client).await?, output).await,
        SubscriptionCommand::Describe { subscription, client } => {
            show::describe(&connect(&client).await?, &subscription, output).await
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
