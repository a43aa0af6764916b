//! `quorate namespace …`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::v1;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
A namespace keeps topics and subscriptions apart from others. `default` is always there and needs no naming.

Examples:
  quorate namespace create shop
  quorate topic create orders --namespace shop
  quorate namespace create clicks --shards 4      four replicated logs, led by different nodes
  quorate namespace list";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NamespaceArgs {
    #[command(subcommand)]
    command: NamespaceCommand,
}

#[derive(Debug, Subcommand)]
enum NamespaceCommand {
    /// Create a namespace. There already with the same settings: done.
    Create {
        /// Its name.
        name: String,
        /// How many replicated logs share its load, 1 to 16. Fixed for its life: order and atomicity hold within one. A topic lies on
        /// one of them, or on all by key (quorate topic create --spread).
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        shards: u32,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List all namespaces.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete an empty namespace, or one whose restore broke off.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: NamespaceArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        NamespaceCommand::Create { name, shards, client } => {
            let namespace = connect(&client).await?.create_namespace(&name, shards).await?;
            output.result(format!("namespace {name} is there"), &document(&namespace))
        }
        NamespaceCommand::List { client } => {
            let all = connect(&client).await?.namespaces().await?;
            let row = |n: &v1::Namespace| {
                vec![n.name.clone(), n.groups.len().to_string(), groups(n), state(n).to_owned()]
            };
            let documents: Vec<Value> = all.iter().map(document).collect();
            output.table(
                &["NAMESPACE", "SHARDS", "GROUPS", "STATE"],
                all.iter().map(row).collect(),
                &documents,
            )
        }
        NamespaceCommand::Delete { name, client } => {
            connect(&client).await?.delete_namespace(&name).await?;
            output.result(format!("namespace {name} is deleted"), &json!({ "namespace": name }))
        }
    }
}

fn state(namespace: &v1::Namespace) -> &'static str {
    if namespace.restoring { "restoring" } else { "open" }
}

fn groups(namespace: &v1::Namespace) -> String {
    namespace.groups.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn document(namespace: &v1::Namespace) -> Value {
    json!({ "namespace": namespace.name, "id": namespace.id, "groups": namespace.groups, "state": state(namespace) })
}
