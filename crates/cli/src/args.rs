//! The commands and what they share. The arguments of a command are declared beside its code.

use crate::access::AccessArgs;
use crate::commands::{
    backup, bench, cluster, consume, dev, export, health, import, moving, namespace, producer, prove,
    publish, quota, read, request, restore, role, serve, subscription, token, top, topic, user,
};
use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

const ABOUT: &str = "A clustered, durable publish/subscribe broker";

const LONG_ABOUT: &str = "\
Quorate is a clustered, durable publish/subscribe broker. Three nodes make a cluster; a publish is confirmed only when a \
majority of nodes has it on disk; consumers attach to any node.";

const AFTER_HELP: &str = "\
First steps:
  quorate dev                                       three nodes on this machine (leave it running)
  quorate subscription create packing orders '*.paid'
  quorate publish orders 'a book' --subject 7.paid
  quorate consume packing --count 1
  quorate cluster status

Exit status:
  0  done
  1  refused by the cluster (the reason code says why), or a proof that failed
  2  wrong usage: flags, environment, configuration file
  3  not now: no node reachable, no majority, not confirmed in time; try again
  4  a node cannot start here: port or data directory in use, a directory of another node, a certificate that does not work
  5  a node stopped because its storage failed
  6  something on this machine: a file that cannot be read, a process that cannot be started";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// For people, or one JSON document (or one per line) for scripts.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, env = "QUORATE_OUTPUT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node.
    Serve(Box<serve::ServeArgs>),
    /// Ask a node whether it is healthy: for containers and scripts.
    Health(health::HealthArgs),
    /// Run a cluster of three nodes on this machine, for development.
    Dev(dev::DevArgs),
    /// Create, list, describe, configure and delete topics.
    Topic(topic::TopicArgs),
    /// Create, list, describe, bind, unbind, purge and delete subscriptions.
    Subscription(subscription::SubscriptionArgs),
    /// Create, list and delete namespaces.
    Namespace(namespace::NamespaceArgs),
    /// Bound what tenants and users may do.
    Quota(quota::QuotaArgs),
    /// List, show and delete producers.
    Producer(producer::ProducerArgs),
    /// Create, change, list and delete users.
    User(user::UserArgs),
    /// Create, list, show and delete roles: what users may do.
    Role(role::RoleArgs),
    /// Make keys and tokens.
    Token(token::TokenArgs),
    /// Publish a message, the lines of standard input, or a file.
    Publish(publish::PublishArgs),
    /// Publish a message and print the reply of whoever consumes it.
    Request(request::RequestArgs),
    /// Consume from a subscription: print and ack.
    Consume(consume::ConsumeArgs),
    /// Move messages from a subscription to a topic, exactly once.
    Move(moving::MoveArgs),
    /// Read what a topic keeps, without a subscription.
    Read(read::ReadArgs),
    /// Show the cluster.
    Cluster(cluster::ClusterArgs),
    /// Copy all that namespaces hold to a file, while they are in use.
    Backup(backup::BackupArgs),
    /// Make namespaces of a backup.
    Restore(restore::RestoreArgs),
    /// Write messages of a topic or a subscription as lines of JSON.
    Export(export::ExportArgs),
    /// Publish lines of JSON, each once.
    Import(import::ImportArgs),
    /// Watch the cluster: nodes, groups, topics and subscriptions, with their rates.
    Top(top::TopArgs),
    /// Measure throughput and latency.
    Bench(bench::BenchArgs),
    /// Check the promise: nothing confirmed is lost, whatever minority of nodes dies.
    Prove(prove::ProveArgs),
}

/// How to reach a cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArgs {
    /// Nodes to ask, HOST:PORT, separated by commas; one that answers is enough.
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        env = "QUORATE_NODES",
        value_delimiter = ',',
        default_value = "127.0.0.1:7411,127.0.0.1:7412,127.0.0.1:7413"
    )]
    pub(crate) nodes: Vec<String>,
    /// Where topics and subscriptions are looked up.
    #[arg(long, value_name = "NAME", env = "QUORATE_NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// Of a namespace with several shards only this one, counted from 0 [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) shard: Option<u32>,
    /// How long to try before giving up.
    #[arg(long, value_name = "DURATION", env = "QUORATE_TIMEOUT", default_value = "15s",
          value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} is not explained");
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} is not explained", argument.get_id());
            }
            command.get_subcommands().for_each(|c| check(c, &path));
        }
        check(&Cli::command(), "");
    }
}
