//! `quorate quota …`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::v1::{self, quota::Of};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
A quota is a bound of each node: what comes through a node may use the whole of it there. Publishers that are too fast
are slowed down; a stream of a publisher or consumer that is one too many is refused (QUOTA_EXCEEDED).

Examples:
  quorate quota set --of-namespace shop --messages-per-second 5000 --bytes-per-second 10000000
  quorate quota set --of-user anna --streams-max 20
  quorate quota list
  quorate quota delete --of-namespace shop";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct QuotaArgs {
    #[command(subcommand)]
    command: QuotaCommand,
}

#[derive(Debug, Subcommand)]
enum QuotaCommand {
    /// Set a quota, or replace it as a whole.
    Set {
        #[command(flatten)]
        of: OfArgs,
        /// Messages that may be published in a second.
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
        messages_per_second: Option<u64>,
        /// Bytes that may be published in a second.
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
        bytes_per_second: Option<u64>,
        /// Streams of publishers and consumers that may be open.
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        streams_max: Option<u32>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List all quotas.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a quota away.
    Delete {
        #[command(flatten)]
        of: OfArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Whose quota.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct OfArgs {
    /// Of all that goes to this namespace.
    #[arg(long, value_name = "NAME")]
    of_namespace: Option<String>,
    /// Of all that comes from this user.
    #[arg(long, value_name = "NAME")]
    of_user: Option<String>,
}

impl OfArgs {
    fn of(self) -> Option<Of> {
        self.of_namespace.map(Of::Namespace).or(self.of_user.map(Of::User))
    }
}

pub(crate) async fn run(args: QuotaArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        QuotaCommand::Set { of, messages_per_second, bytes_per_second, streams_max, client } => {
            let quota = v1::Quota { of: of.of(), messages_per_second, bytes_per_second, streams_max };
            connect(&client).await?.put_quota(quota.clone()).await?;
            output.result(format!("{} has this quota", named(&quota)), &document(&quota))
        }
        QuotaCommand::List { client } => {
            let all = connect(&client).await?.quotas().await?;
            let shown = |bound: Option<u64>| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
            let row = |quota: &v1::Quota| {
                let streams = quota.streams_max.map(u64::from);
                let bounds = [quota.messages_per_second, quota.bytes_per_second, streams];
                std::iter::once(named(quota)).chain(bounds.map(shown)).collect()
            };
            let documents: Vec<Value> = all.iter().map(document).collect();
            let header = ["OF", "MESSAGES/S", "BYTES/S", "STREAMS"];
            output.table(&header, all.iter().map(row).collect(), &documents)
        }
        QuotaCommand::Delete { of, client } => {
            let quota = v1::Quota { of: of.of(), ..Default::default() };
            if let Some(of) = quota.of.clone() {
                connect(&client).await?.delete_quota(of).await?;
            }
            output.result(format!("{} has no quota", named(&quota)), &document(&quota))
        }
    }
}

fn named(quota: &v1::Quota) -> String {
    match &quota.of {
        Some(Of::Namespace(name)) => format!("namespace {name}"),
        Some(Of::User(name)) => format!("user {name}"),
        None => "nobody".to_owned(),
    }
}

fn document(quota: &v1::Quota) -> Value {
    let (namespace, user) = match &quota.of {
        Some(Of::Namespace(name)) => (Some(name), None),
        Some(Of::User(name)) => (None, Some(name)),
        None => (None, None),
    };
    json!({
        "namespace": namespace,
        "user": user,
        "messages_per_second": quota.messages_per_second,
        "bytes_per_second": quota.bytes_per_second,
        "streams_max": quota.streams_max,
    })
}
