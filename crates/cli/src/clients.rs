//! Clients of a cluster, as the commands use them.

use crate::access::Reach;
use crate::args::ClientArgs;
use crate::failure::Failure;
use crate::prove::Noise;
use quorate_client::{Client, ClientOptions};
use quorate_types::{Entropy, NamespaceName};
use std::sync::{Arc, Mutex, PoisonError};

/// A client for one command, which has reached a node.
pub(crate) async fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    let options = ClientOptions {
        namespace: args.namespace.clone(),
        call_timeout: args.timeout,
        attempt_timeout: args.timeout.min(ClientOptions::default().attempt_timeout),
        ..args.access.options()?
    };
    let client = Client::connect(&args.nodes, options).await?;
    Ok(args.shard.map_or_else(|| client.clone(), |shard| client.on_shard(shard)))
}

/// A client for each shard of the namespace, with its number where there are several; of the one that was asked for alone.
pub(crate) async fn each_shard(client: &Client) -> Result<Vec<(Option<u32>, Client)>, Failure> {
    if let Some(shard) = client.shard() {
        return Ok(vec![(Some(shard), client.clone())]);
    }
    let shards = client.shards().await?;
    if !shards.are_several() {
        return Ok(vec![(None, client.clone())]);
    }
    Ok(shards.numbers().map(|shard| (Some(shard), client.on_shard(shard))).collect())
}

/// A client that begins with the node at `index` of the list and moves on from there when that node fails.
pub(crate) fn starting_at(reach: &Reach, index: usize) -> Result<Client, Failure> {
    starting_in(reach, index, NamespaceName::DEFAULT)
}

/// The same, in another namespace than `default`.
pub(crate) fn starting_in(reach: &Reach, index: usize, namespace: &str) -> Result<Client, Failure> {
    let (entropy, namespace) = (Arc::new(StartAt::new(index as u64)), namespace.to_owned());
    Ok(Client::new(&reach.nodes, ClientOptions { entropy, namespace, ..reach.options.clone() })?)
}

/// The first draw, by which a client chooses its first node, is given; those after it are spread.
struct StartAt(Mutex<(Option<u64>, Noise)>);

impl StartAt {
    fn new(index: u64) -> Self {
        Self(Mutex::new((Some(index), Noise::new(index))))
    }
}

impl Entropy for StartAt {
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.take().unwrap_or_else(|| state.1.next_u64())
    }
}
