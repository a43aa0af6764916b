//! Clients of a cluster, as the commands use them.

use crate::args::ClientArgs;
use crate::failure::Failure;
use crate::prove::Noise;
use quorate_client::{Client, ClientOptions};
use quorate_types::Entropy;
use std::sync::{Arc, Mutex, PoisonError};

/// A client for one command, which has reached a node.
pub(crate) async fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    let options = ClientOptions {
        namespace: args.namespace.clone(),
        call_timeout: args.timeout,
        attempt_timeout: args.timeout.min(ClientOptions::default().attempt_timeout),
        ..ClientOptions::default()
    };
    Ok(Client::connect(&args.nodes, options).await?)
}

/// A client that begins with the node at `index` of the list and moves on from there when that node fails.
pub(crate) fn starting_at(nodes: &[String], index: usize) -> Result<Client, Failure> {
    let entropy = Arc::new(StartAt::new(index as u64));
    Ok(Client::new(nodes, ClientOptions { entropy, ..ClientOptions::default() })?)
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
