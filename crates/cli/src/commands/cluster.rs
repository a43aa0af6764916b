//! `quorate cluster …`

mod moving;
mod status;

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::Client;
use serde_json::json;
use std::time::Duration;

const EXAMPLES: &str = "\
`status` says in words what is wrong and what to do; it ends with 1 when something does not work, and with 3 when all works and less
is in reserve than should be.

Examples:
  quorate cluster status
  quorate cluster status --nodes 127.0.0.1:7412 --output json
  quorate cluster join 4                     waits for a node that was started with `quorate serve --join`
  quorate cluster replace 3 4                everything of the lost node 3 goes to the new node 4
  quorate cluster drain --local              before this machine's node is stopped";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show the nodes, the replicated logs, who leads and who lags, what is wrong and what to do.
    Status {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Wait until a node that was started with `quorate serve --join` has come in and serves.
    Join {
        /// Its id.
        node: u64,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Have everything of a node go to others, then forget it. Refused where too few would be left.
    Remove {
        /// Its id.
        node: u64,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a node that is lost, after the one that takes its place has come in.
    Replace {
        /// The id of the lost one.
        lost: u64,
        /// The id of the new one, started with `quorate serve --join`.
        new: u64,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Have the leader of a group hand over.
    TransferLeader {
        /// The group, as `status` lists it.
        group: u64,
        /// To this node [default: the one that has most].
        #[arg(long, value_name = "ID")]
        to: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Spread the leaders over the nodes, and wait until the replicas are spread, too.
    Rebalance {
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a node ready to be stopped: others lead, clients go elsewhere. Refused where a majority would be lost, and still would
    /// after --timeout: so long it waits for others to come back.
    Drain {
        #[command(flatten)]
        which: Which,
        /// How long it may be away: after that another node can be drained.
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
        lasts: Duration,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a node serve that was drained; a restart does that by itself.
    Undrain {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// One node.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// Its id.
    node: Option<u64>,
    /// The node at the first of the addresses to ask: by default the one on this machine.
    #[arg(long)]
    local: bool,
}

/// How long something that goes on by itself is waited for.
#[derive(Args, Clone, Copy, Debug)]
struct Patience {
    /// How long to wait. It goes on after that, too.
    #[arg(long = "wait", value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(crate) async fn run(args: ClusterArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        ClusterCommand::Status { client } => {
            let status = connect(&client).await?.status().await?;
            if output.is_json() {
                output.document(&status::document(&status))?;
            } else {
                output.text(status::text(&status))?;
            }
            status::verdict(&status)
        }
        ClusterCommand::Join { node, patience, mut client } => {
            // The cluster itself may not be there yet.
            client.timeout = client.timeout.max(patience.wait);
            moving::joined(&connect(&client).await?, node, patience.wait).await?;
            output.result(format!("node {node} belongs to the cluster and serves"), &json!({ "node": node }))
        }
        ClusterCommand::Remove { node, patience, client } => {
            moving::remove(&connect(&client).await?, node, patience.wait).await?;
            output.result(format!("node {node} is removed: it may be stopped"), &json!({ "node": node }))
        }
        ClusterCommand::Replace { lost, new, patience, client } => {
            let cluster = connect(&client).await?;
            moving::joined(&cluster, new, patience.wait).await?;
            moving::remove(&cluster, lost, patience.wait).await?;
            let document = json!({ "removed": lost, "node": new });
            output.result(format!("what node {lost} had is elsewhere, and it is forgotten"), &document)
        }
        ClusterCommand::TransferLeader { group, to, client } => {
            let node = connect(&client).await?.transfer_leader(group, to).await?;
            output
                .result(format!("node {node} leads group {group}"), &json!({ "group": group, "node": node }))
        }
        ClusterCommand::Rebalance { patience, client } => {
            let done = moving::rebalance(&connect(&client).await?, patience.wait).await?;
            output.result(moving::text(&done), &moving::document(&done))
        }
        ClusterCommand::Drain { which, lasts, client } => {
            let within = client.timeout;
            let (cluster, node) = chosen(&which, client).await?;
            let done = cluster.drain(node, within, lasts).await?;
            let document = json!({ "node": done.node, "handed_over": done.handed_over });
            output.result(format!("node {} is drained: it may be stopped", done.node), &document)
        }
        ClusterCommand::Undrain { which, client } => {
            let (cluster, node) = chosen(&which, client).await?;
            cluster.undrain(node).await?;
            output.result(format!("node {node} may serve again"), &json!({ "node": node }))
        }
    }
}

/// A client, and the id of the node that is meant. The local one is asked itself: others may be unable to reach it.
async fn chosen(which: &Which, mut client: ClientArgs) -> Result<(Client, u64), Failure> {
    if let Some(node) = which.node {
        return Ok((connect(&client).await?, node));
    }
    client.nodes.truncate(1);
    let cluster = connect(&client).await?;
    let node = cluster.status().await?.node;
    Ok((cluster, node))
}
