//! What happens to nodes: killed, stopped, started again; and which of them leads.

use crate::brokers::{Broker, LOOK_EVERY, READY_PATIENCE, Running};
use crate::peers::nats_leader;
use anyhow::{Context, Result, bail, ensure};
use quorate_client::{Client, ClientOptions};
use quorate_processes::Process;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An Erlang machine that starts again beside two busy ones takes a minute; its queues, another.
const WHOLE_PATIENCE: Duration = Duration::from_secs(240);

/// The shard of the namespace `default`.
const GROUP: u64 = 1;

impl Running {
    /// A node's process.
    pub(crate) fn node(&mut self, at: usize) -> Result<&mut Process> {
        let peer = self.processes.get_mut(at);
        let own = self.quorate.as_mut().and_then(|quorate| quorate.node_mut(at));
        own.map(|node| &mut **node).or(peer).with_context(|| format!("there is no node {at}"))
    }

    /// Starts a node that was killed.
    pub(crate) fn start_again(&mut self, at: usize) -> Result<()> {
        match &mut self.quorate {
            Some(quorate) => Ok(quorate.start(at)?),
            None => Ok(self.node(at)?.start()?),
        }
    }

    /// Waits until all nodes are there and what they replicate is whole; which of them leads the topic, counted from 0.
    pub(crate) async fn whole(&mut self, topic: &str, queue: &str) -> Result<usize> {
        if let Some(quorate) = &mut self.quorate {
            quorate.wait_ready(READY_PATIENCE, |_, _| {}).await?;
        }
        let begun = Instant::now();
        loop {
            match self.formed(topic, queue).await {
                Ok(leader) => return Ok(leader),
                Err(why) => ensure!(begun.elapsed() < WHOLE_PATIENCE, "not whole: {why:#}"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// As [`Running::whole`], if it is so now.
    async fn formed(&self, topic: &str, queue: &str) -> Result<usize> {
        if let Some(rabbitmq) = &self.rabbitmq {
            // Its tool waits for nodes, but not for the one that it asks.
            rabbitmq.formed().await?;
        }
        self.leader(topic, queue).await
    }

    /// The node that leads what stores a topic, counted from 0.
    pub(crate) async fn leader(&self, topic: &str, queue: &str) -> Result<usize> {
        match self.broker {
            Broker::Quorate => quorate_leader(&self.addresses).await,
            Broker::JetstreamAlways | Broker::Jetstream => nats_leader(&self.addresses, topic).await,
            Broker::RabbitmqQuorum | Broker::RabbitmqStream => {
                let rabbitmq = self.rabbitmq.as_ref().context("RabbitMQ's tool")?;
                Ok(rabbitmq.leader(queue).await?)
            }
            Broker::Floor | Broker::FloorKeeping => bail!("the floor has no leader"),
        }
    }
}

async fn quorate_leader(addresses: &[String]) -> Result<usize> {
    let status = Client::connect(addresses, ClientOptions::default()).await?.status().await?;
    let led = status.groups.iter().find(|group| group.id == GROUP && group.leader != 0);
    // Nodes are numbered from 1.
    Ok(usize::try_from(led.context("nobody leads")?.leader)?.saturating_sub(1))
}
