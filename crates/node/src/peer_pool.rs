//! One channel per peer address, shared by everything but Raft (which keeps channels of its own).

use quorate_types::{Reason, Refusal};
use quorate_wire::peer::peers_client::PeersClient;
use quorate_wire::{ChannelOptions, Connect, PEER_BYTES_MAX};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::Channel;

/// Dials peers, once per address.
pub(crate) struct PeerPool {
    connect: Arc<dyn Connect>,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl PeerPool {
    /// Over the given network.
    #[must_use]
    pub(crate) fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect, channels: Mutex::default() }
    }

    /// A client of the peer at `host:port`; connects on its first call.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when that is no address.
    pub(crate) fn client(&self, address: &str) -> Result<PeersClient<Channel>, Refusal> {
        Ok(PeersClient::new(self.channel(address)?)
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX))
    }

    /// The channel to the peer at `host:port`; connects on its first call.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when that is no address.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, Refusal> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let made = self.connect.channel(address, &ChannelOptions::peer());
        let channel = made.map_err(|e| Refusal::new(Reason::InvalidArgument, e.to_string()))?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
