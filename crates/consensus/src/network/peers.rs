//! The channels to other nodes, and who speaks to whom on them.

use crate::options::ConsensusOptions;
use quorate_types::{ClusterId, Voter};
use quorate_wire::peer::Link;
use quorate_wire::{AddressError, Connect, member, voter};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tonic::transport::Channel;

/// Who this node is among its peers, and one channel to each of them: all groups share it.
pub(crate) struct Peers {
    me: Voter,
    cluster: ClusterId,
    connect: Arc<dyn Connect>,
    options: Arc<ConsensusOptions>,
    channels: Mutex<BTreeMap<String, Channel>>,
}

/// A frame that is not for this node, or not from its cluster (DESIGN §6.1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WrongLink {
    #[error("the frame does not say who sent it to whom")]
    Missing,
    #[error("the frame is for cluster {theirs:?}, this node belongs to {ours}")]
    Cluster { ours: ClusterId, theirs: String },
    #[error("the frame is for {target}, this node is {me}: its disk is another one")]
    Target { me: Voter, target: Voter },
}

impl Peers {
    pub(crate) fn new(
        me: Voter,
        cluster: ClusterId,
        connect: Arc<dyn Connect>,
        options: Arc<ConsensusOptions>,
    ) -> Self {
        Self { me, cluster, connect, options, channels: Mutex::new(BTreeMap::new()) }
    }

    pub(crate) fn me(&self) -> Voter {
        self.me
    }

    pub(crate) fn options(&self) -> &Arc<ConsensusOptions> {
        &self.options
    }

    /// The channel to an address, made when first asked for. It reconnects by itself.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, AddressError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = self.connect.channel(address, &self.options.channel)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Whether anybody listens at an address.
    ///
    /// # Errors
    /// As connecting fails: `ConnectionRefused` when nobody does.
    pub(crate) async fn probe(&self, address: &str) -> io::Result<()> {
        self.connect.probe(address).await
    }

    /// From this node to `target`.
    pub(crate) fn link(&self, target: Voter) -> Link {
        Link {
            cluster_id: self.cluster.to_string(),
            source: Some(member(self.me)),
            target: Some(member(target)),
        }
    }

    /// Whether a frame is for this node, in this life of its disk and this cluster.
    ///
    /// The source's incarnation is not compared with a membership: a replica that was away may know only the former
    /// incarnation of its present leader. That a former incarnation has no say is Raft's own rule: it is no voter.
    pub(crate) fn check(&self, link: Option<&Link>) -> Result<(), WrongLink> {
        let link = link.ok_or(WrongLink::Missing)?;
        if ClusterId::parse(&link.cluster_id) != Some(self.cluster) {
            return Err(WrongLink::Cluster { ours: self.cluster, theirs: link.cluster_id.clone() });
        }
        let target = link.target.as_ref().map(voter).ok_or(WrongLink::Missing)?;
        if target != self.me {
            return Err(WrongLink::Target { me: self.me, target });
        }
        Ok(())
    }
}
