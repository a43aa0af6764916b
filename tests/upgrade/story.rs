//! The upgrade, step by step.

use super::checks::{each_node_works, newer_is_refused, newer_works};
use super::cluster::{Age, Cluster, NODES};
use super::load::Load;
use super::progress::{say, until};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// What was done, for the summary.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) upgrades: usize,
    pub(crate) downgrades: usize,
    pub(crate) wipes: usize,
    pub(crate) snapshots: usize,
    pub(crate) refused: usize,
    /// Which programs led while the others were mixed.
    pub(crate) led_by: BTreeSet<Age>,
}

/// A cluster that is upgraded while it is used.
pub(crate) struct Story<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) loads: &'a mut [Load],
    pub(crate) done: Done,
}

impl Story<'_> {
    /// From three nodes of the older program to three of the newer one.
    pub(crate) async fn tell(&mut self) -> Result<()> {
        self.cluster.wait_caught_up().await?;
        let leader = self.cluster.leader().await?;
        let first = (leader + 1) % usize::from(NODES);
        self.change(first, Age::Newer, false).await?;
        self.look("one newer").await?;
        // Whoever upgrades may change their mind, as long as one node is of the older program.
        self.change(first, Age::Older, false).await?;
        self.change(first, Age::Newer, false).await?;
        // All that there is comes from a leader of the older program, to a node of the newer one.
        self.led_by(Age::Older).await?;
        self.change(first, Age::Newer, true).await?;
        let second = self.cluster.leader().await?;
        ensure!(second != first, "node {} leads though it is of the newer program", first + 1);
        self.change(second, Age::Newer, false).await?;
        self.look("two newer").await?;
        let last = self.older()?;
        self.led_by(Age::Newer).await?;
        // And the other way round: rows and blocks that the newer program sends, the older one reads.
        self.change(last, Age::Older, true).await?;
        self.look("two newer, one of which leads").await?;
        // A newer leader goes back to being an older follower, on what it has written itself.
        let leader = self.cluster.leader().await?;
        self.change(leader, Age::Older, false).await?;
        self.look("one newer again").await?;
        self.change(leader, Age::Newer, false).await?;
        self.change(last, Age::Newer, false).await?;
        self.raised().await
    }

    /// One node stops in order, and starts with that program; on an empty disk if it is to be `wiped`.
    async fn change(&mut self, index: usize, age: Age, wiped: bool) -> Result<()> {
        for load in self.loads.iter_mut() {
            load.check_goes_on()?;
        }
        let was = self.cluster.ages()[index];
        let disk = if wiped { ", on an empty disk" } else { "" };
        say!("node {}: {was:?} to {age:?}{disk}", index + 1);
        let before = self.cluster.snapshots_sent()?;
        let changed = self.cluster.restart(index, age, wiped).await;
        changed.with_context(|| format!("node {}: {was:?} to {age:?}{disk}", index + 1))?;
        let snapshots = self.cluster.snapshots_sent()? - before;
        ensure!(snapshots > 0 || !wiped, "node {} got all that there is without a snapshot", index + 1);
        self.done.snapshots += snapshots;
        self.done.upgrades += usize::from((was, age) == (Age::Older, Age::Newer));
        self.done.downgrades += usize::from((was, age) == (Age::Newer, Age::Older));
        self.done.wipes += usize::from(wiped);
        Ok(())
    }

    /// Everything of the first version works, and nothing else does.
    async fn look(&mut self, stage: &str) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let led_by = self.cluster.ages()[leader];
        let versions = self.cluster.versions().await?;
        ensure!(versions == BTreeSet::from([1]), "{stage}: the groups decide by {versions:?}");
        each_node_works(self.cluster, &stage.replace([' ', ','], "-"))
            .await
            .with_context(|| stage.to_owned())?;
        let refused = newer_is_refused(self.cluster).await.with_context(|| stage.to_owned())?;
        say!(
            "{stage}, led by node {} ({led_by:?}): all works, {refused} calls were refused: UPGRADING",
            leader + 1
        );
        self.done.refused += refused;
        self.done.led_by.insert(led_by);
        Ok(())
    }

    /// Restarts leaders, with the program that they have, until one of that program leads.
    async fn led_by(&mut self, age: Age) -> Result<()> {
        for _ in 0..2 * NODES {
            let leader = self.cluster.leader().await?;
            if self.cluster.ages()[leader] == age {
                return Ok(());
            }
            self.change(leader, self.cluster.ages()[leader], false).await?;
        }
        anyhow::bail!("no node of the {age:?} program comes to lead")
    }

    fn older(&self) -> Result<usize> {
        self.cluster.ages().iter().position(|age| *age == Age::Older).context("one is left")
    }

    /// The last node is upgraded: the groups find out by themselves.
    async fn raised(&mut self) -> Result<()> {
        let cluster = &mut *self.cluster;
        until("all groups to decide by version 2", async || {
            let versions = cluster.versions().await?;
            ensure!(versions == BTreeSet::from([2]), "they decide by {versions:?}");
            Ok(())
        })
        .await?;
        say!("all groups decide by version 2");
        newer_works(cluster).await?;
        each_node_works(cluster, "all-newer").await?;
        for load in self.loads.iter_mut() {
            load.check_goes_on()?;
        }
        Ok(())
    }
}

/// What a program says that is too old for what its disk has; the oldest one only if it knows all rows.
const TOO_OLD: [&str; 2] = ["run a newer quorate", "has the unknown key"];

/// A program that is too old for what its node has ends, says why, and leaves the disk as it is.
pub(crate) async fn older_does_not_go_on(cluster: &mut Cluster) -> Result<()> {
    let index = usize::from(NODES) - 1;
    cluster.stop_one(index).await?;
    let said_before = cluster.log(index)?.len();
    cluster.start_one(index, Age::Older)?;
    let (code, said) = cluster.wait_end(index, said_before).await?;
    ensure!(code.is_some_and(|code| code != 0), "the older program ended with {code:?}: {said}");
    let line = said.lines().find(|line| TOO_OLD.iter().any(|words| line.contains(words)));
    let line = line.with_context(|| format!("the older program ended with {code:?}, and said: {said}"))?;
    say!("the older program ends with status {}: {}", code.unwrap_or_default(), line.trim());
    cluster.start_one(index, Age::Newer)?;
    cluster.wait_ready(index).await
}
