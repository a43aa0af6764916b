//! `quorate topic …`

use super::look::{self, TraceArgs};
use super::subscription::binding::{EVERYTHING, binding_text, bindings_document};
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::{Client, v1};
use serde_json::{Value, json};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  quorate topic create orders
  quorate topic create audit --retention-age 7d --retention-bytes 10000000000
  quorate topic create prices --compact                       the newest price of each key is kept for ever
  quorate topic create payments --message-id-window 2m        what is published again under its id is not stored again
  quorate topic list --output json
  quorate topic configure audit --retention-age 30d
  quorate topic trace orders 1000
  quorate topic create clicks --namespace shop --spread       on all shards of the namespace, by key
  quorate topic create incoming --alternate-topic audit       what nothing is bound for goes to audit
  quorate topic bind orders audit '*.paid'                    what is paid goes to audit, too
  quorate topic unbind orders audit '*.paid'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create a topic. There already with the same settings: done.
    Create {
        /// Its name.
        topic: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the topics of the namespace.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a topic and its bindings.
    Describe {
        /// Its name.
        topic: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace all settings of a topic; what is not given goes back to its default.
    Configure {
        /// Its name.
        topic: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show where a message of a topic is: which subscriptions have it, and who holds it.
    Trace(TraceArgs),
    /// Pass messages on to another topic, from now on, where the filter matches. They are not copied.
    Bind {
        #[command(flatten)]
        binding: TopicBinding,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a binding between topics back. What was passed on stays.
    Unbind {
        #[command(flatten)]
        binding: TopicBinding,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a topic with its bindings; what subscriptions had not settled of it is counted as purged.
    Delete {
        /// Its name.
        topic: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a scheduled message back: subscriptions where it still waits for its time will not get it.
    Cancel {
        /// The topic.
        topic: String,
        /// Where the receipt says that the message is.
        offset: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Args, Clone, Debug)]
struct Settings {
    /// Keep messages for readers for so long, also when all subscriptions have settled them.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    retention_age: Option<Duration>,
    /// Keep the newest so many bytes of messages for readers.
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<u64>,
    /// What waits for longer to be processed expires.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Pass messages on to this topic that no binding selects. It must be there [default: nobody gets them].
    #[arg(long, value_name = "TOPIC")]
    alternate_topic: Option<String>,
    /// Keep the newest message of each key, however old, beside what retention keeps. An empty message with a key deletes it.
    #[arg(long)]
    compact: bool,
    /// Know a message again by its id for so long: one that comes again is not stored again.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    message_id_window: Option<Duration>,
    /// In a namespace with several shards: lies on all of them, each message where its key belongs [default: all of it lies on one].
    /// Fixed when the topic is created.
    #[arg(long)]
    spread: bool,
}

#[derive(Args, Debug)]
struct TopicBinding {
    /// The topic that passes messages on.
    from: String,
    /// The topic that gets them.
    to: String,
    /// Where the subject matches.
    #[arg(default_value = EVERYTHING)]
    filter: String,
}

impl TopicBinding {
    fn document(&self) -> Value {
        onward_document(&self.from, &self.to, &self.filter)
    }
}

fn onward_document(from: &str, to: &str, filter: &str) -> Value {
    json!({ "from": from, "to": to, "filter": filter })
}

impl From<Settings> for v1::TopicConfig {
    fn from(settings: Settings) -> Self {
        let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self {
            retention_ms: settings.retention_age.map(ms),
            retention_bytes: settings.retention_bytes,
            ttl_ms: settings.ttl.map(ms),
            alternate_topic: settings.alternate_topic.unwrap_or_default(),
            message_id_window_ms: settings.message_id_window.map(ms),
            compacted: settings.compact,
            spread_by_key: settings.spread,
        }
    }
}

pub(crate) async fn run(args: TopicArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        TopicCommand::Create { topic, settings, client } => {
            connect(&client).await?.create_topic(&topic, settings.into()).await?;
            output.result(format!("topic {topic} is there"), &json!({ "topic": topic }))
        }
        TopicCommand::List { client } => list(&connect(&client).await?, output).await,
        TopicCommand::Describe { topic, client } => describe(&connect(&client).await?, &topic, output).await,
        TopicCommand::Configure { topic, settings, client } => {
            connect(&client).await?.configure_topic(&topic, settings.into()).await?;
            output.result(format!("topic {topic} is configured"), &json!({ "topic": topic }))
        }
        TopicCommand::Trace(args) => look::trace(args, output).await,
        TopicCommand::Bind { binding, client } => {
            let TopicBinding { from, to, filter } = &binding;
            connect(&client).await?.bind_topic(from, to, filter).await?;
            output.result(format!("{from} {filter} -> topic {to}"), &binding.document())
        }
        TopicCommand::Unbind { binding, client } => {
            let TopicBinding { from, to, filter } = &binding;
            connect(&client).await?.unbind_topic(from, to, filter).await?;
            output.result(format!("{from} {filter} no longer goes to topic {to}"), &binding.document())
        }
        TopicCommand::Delete { topic, client } => {
            connect(&client).await?.delete_topic(&topic).await?;
            output.result(format!("topic {topic} is deleted"), &json!({ "topic": topic }))
        }
        TopicCommand::Cancel { topic, offset, client } => {
            let subscriptions = connect(&client).await?.cancel_scheduled(&topic, offset).await?;
            let text = format!("message {offset} of {topic} is cancelled in {subscriptions} subscriptions");
            output.result(text, &json!({ "topic": topic, "offset": offset, "subscriptions": subscriptions }))
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let topics = client.topics().await?;
    let header = ["TOPIC", "PUBLISHED", "KEPT", "BYTES", "UNROUTED", "RETENTION", "GROUP"];
    output.table(&header, topics.iter().map(row).collect(), &topics.iter().map(document).collect::<Vec<_>>())
}

async fn describe(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let described = client.describe_topic(name).await?;
    let topic = described.topic.unwrap_or_default();
    let bindings = &described.bindings;
    let mut text = format!(
        "topic        {}\npublished    {}\nkept         {} messages, {} bytes, from offset {}\nunrouted     {}\nretention    {}\ntime to live {}\ngroup        {}",
        topic.name,
        topic.next_offset,
        topic.messages,
        topic.bytes,
        topic.first_offset,
        topic.unrouted,
        retention(&topic),
        ttl(&topic),
        groups(&topic)
    );
    for binding in bindings {
        text += &format!("\nbinding      {} -> {}", binding_text(binding), binding.subscription);
    }
    for binding in &described.onward {
        text += &format!("\nbinding      {} -> topic {}", binding.filter, binding.to);
    }
    if topic.config.as_ref().is_some_and(|config| config.compacted) {
        text += &format!("\ncompacted    {} keys, about {} bytes", topic.keys, topic.needed_bytes);
    }
    if let Some(window) = topic.config.as_ref().and_then(|config| config.message_id_window_ms) {
        let window = humantime::format_duration(Duration::from_millis(window));
        text += &format!("\nmessage ids  {} within {window}", topic.message_ids);
    }
    if let Some(to) = alternate(&topic) {
        text += &format!("\nelse         -> topic {to}");
    }
    for part in &topic.shards {
        text += &format!(
            "\nshard {:<7}published {}, kept {} messages, {} bytes, from offset {}, group {}",
            part.shard, part.next_offset, part.messages, part.bytes, part.first_offset, part.group
        );
    }
    let mut document = document(&topic);
    document["bindings"] = bindings_document(bindings);
    let onward = described.onward.iter().map(|b| onward_document(&b.from, &b.to, &b.filter));
    document["onward"] = onward.collect();
    output.result(text, &document)
}

fn row(topic: &v1::Topic) -> Vec<String> {
    vec![
        topic.name.clone(),
        topic.next_offset.to_string(),
        topic.messages.to_string(),
        topic.bytes.to_string(),
        topic.unrouted.to_string(),
        retention(topic),
        groups(topic),
    ]
}

/// Of a spread topic all of them.
fn groups(topic: &v1::Topic) -> String {
    if topic.shards.is_empty() {
        return topic.group.to_string();
    }
    topic.shards.iter().map(|part| part.group.to_string()).collect::<Vec<_>>().join(",")
}

fn alternate(topic: &v1::Topic) -> Option<&str> {
    topic.config.as_ref().map(|config| config.alternate_topic.as_str()).filter(|to| !to.is_empty())
}

fn document(topic: &v1::Topic) -> Value {
    let config = topic.config.clone().unwrap_or_default();
    json!({
        "topic": topic.name,
        "first_offset": topic.first_offset,
        "next_offset": topic.next_offset,
        "messages": topic.messages,
        "bytes": topic.bytes,
        "unrouted": topic.unrouted,
        "retention_ms": config.retention_ms,
        "retention_bytes": config.retention_bytes,
        "ttl_ms": config.ttl_ms,
        "message_id_window_ms": config.message_id_window_ms,
        "message_ids": topic.message_ids,
        "compacted": config.compacted,
        "keys": topic.keys,
        "needed_bytes": topic.needed_bytes,
        "alternate_topic": alternate(topic),
        "spread_by_key": config.spread_by_key,
        "group": topic.group,
        "shards": topic.shards.iter().map(shard_document).collect::<Vec<_>>(),
    })
}

fn shard_document(part: &v1::TopicShard) -> Value {
    json!({
        "shard": part.shard,
        "group": part.group,
        "first_offset": part.first_offset,
        "next_offset": part.next_offset,
        "messages": part.messages,
        "bytes": part.bytes,
        "unrouted": part.unrouted,
    })
}

fn ttl(topic: &v1::Topic) -> String {
    let ttl = topic.config.as_ref().and_then(|config| config.ttl_ms).map(Duration::from_millis);
    ttl.map_or_else(|| "none".to_owned(), |ttl| humantime::format_duration(ttl).to_string())
}

fn retention(topic: &v1::Topic) -> String {
    let config = topic.config.clone().unwrap_or_default();
    let age = config.retention_ms.map(|ms| humantime::format_duration(Duration::from_millis(ms)).to_string());
    let bytes = config.retention_bytes.map(|bytes| format!("{bytes} bytes"));
    match (age, bytes) {
        (None, None) => "until settled".to_owned(),
        (age, bytes) => [age, bytes].into_iter().flatten().collect::<Vec<_>>().join(", "),
    }
}
