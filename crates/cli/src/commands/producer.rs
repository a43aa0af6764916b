//! `quorate producer …`

use super::time;
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::v1;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
A producer is a publisher with a name: what it publishes has numbers, and a number is stored once, though the program is \
killed and started again. It begins with `quorate publish --producer NAME`.

Examples:
  quorate producer list
  quorate producer show ingest --output json
  quorate producer delete ingest";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProducerArgs {
    #[command(subcommand)]
    command: ProducerCommand,
}

#[derive(Debug, Subcommand)]
enum ProducerCommand {
    /// List the producers of the namespace.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a producer: how far it is, and until when it is remembered.
    Show {
        /// Its name.
        producer: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a producer: what it published is not known any more, and whoever has it open is refused.
    Delete {
        /// Its name.
        producer: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: ProducerArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        ProducerCommand::List { client } => {
            let producers = connect(&client).await?.producers().await?;
            let header = ["PRODUCER", "LAST SEQUENCE", "EPOCH", "LAST SEEN", "REMEMBERED UNTIL", "GROUP"];
            let documents: Vec<Value> = producers.iter().map(document).collect();
            output.table(&header, producers.iter().map(row).collect(), &documents)
        }
        ProducerCommand::Show { producer, client } => {
            let producer = connect(&client).await?.describe_producer(&producer).await?;
            let [name, last, epoch, seen, until, group] = fields(&producer);
            let text = format!(
                "producer          {name}\nlast sequence     {last}\nepoch             {epoch}\nlast seen         {seen}\nremembered until  {until}\ngroup             {group}"
            );
            output.result(text, &document(&producer))
        }
        ProducerCommand::Delete { producer, client } => {
            connect(&client).await?.delete_producer(&producer).await?;
            output.result(format!("producer {producer} is deleted"), &json!({ "producer": producer }))
        }
    }
}

fn row(producer: &v1::Producer) -> Vec<String> {
    fields(producer).into()
}

fn fields(producer: &v1::Producer) -> [String; 6] {
    [
        producer.name.clone(),
        producer.last_sequence.to_string(),
        producer.epoch.to_string(),
        time::seconds(producer.seen_ms),
        time::seconds(producer.seen_ms.saturating_add(producer.timeout_ms)),
        producer.group.to_string(),
    ]
}

fn document(producer: &v1::Producer) -> Value {
    json!({
        "producer": producer.name,
        "last_sequence": producer.last_sequence,
        "epoch": producer.epoch,
        "seen_ms": producer.seen_ms,
        "timeout_ms": producer.timeout_ms,
        "group": producer.group,
        "shard": producer.shard,
    })
}
