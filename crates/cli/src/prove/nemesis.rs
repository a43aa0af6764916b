//! Does to real processes what the plan says: one node at a time, so that a majority is always there, and seldom all.

use super::faults::{Fault, Plan};
use crate::failure::Failure;
use quorate_processes::{ProcessError, Processes};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The promise is worth little if it is not tried: at least so often a node is killed, on average.
const KILL_EVERY: Duration = Duration::from_millis(2_800);

/// How long the next fault waits for the last victim to serve again, when kills are on time. One that does not by then is
/// the only one that may be hit next: a crash during recovery.
const READY_PATIENCE: Duration = Duration::from_millis(2_500);

/// After all were killed there is no progress until two are back.
const READY_PATIENCE_ALL: Duration = Duration::from_secs(8);

/// A node is asked so often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    pub(crate) full_stops: u64,
    pub(crate) ended_by_themselves: u64,
}

/// The adversary.
pub(crate) struct Nemesis<'a> {
    processes: &'a mut Processes,
    plan: Plan,
    diary: File,
    started: Instant,
    done: Done,
    /// The last victim, while it does not serve again.
    weak: Option<usize>,
}

impl<'a> Nemesis<'a> {
    /// Writes what it does into `faults.log` in the directory.
    pub(crate) fn new(processes: &'a mut Processes, seed: u64, directory: &Path) -> Result<Self, Failure> {
        let path = directory.join("faults.log");
        let diary = File::create(&path).map_err(|source| Failure::Directory { path, source })?;
        let plan = Plan::new(seed, processes.nodes().len());
        Ok(Self { processes, plan, diary, started: Instant::now(), done: Done::default(), weak: None })
    }

    /// What was done so far.
    pub(crate) fn done(&self) -> Done {
        self.done
    }

    /// One fault after the other until the deadline; `told` hears of each.
    pub(crate) async fn rage(
        &mut self,
        deadline: Instant,
        mut told: impl FnMut(Done),
    ) -> Result<(), Failure> {
        self.started = Instant::now();
        while let Some(step) = self.plan.next() {
            if Instant::now() + step.quiet >= deadline {
                break;
            }
            sleep(step.quiet).await;
            let fault = self.weak.map_or(step.fault, |weak| step.fault.aimed_at(weak));
            self.note(&fault.to_string());
            self.inflict(fault).await?;
            told(self.done);
            self.revive()?;
        }
        sleep(deadline.saturating_duration_since(Instant::now())).await;
        Ok(())
    }

    /// Everything runs and serves again, or that is the failure.
    pub(crate) async fn heal(&mut self, patience: Duration) -> Result<(), Failure> {
        self.note("heal");
        self.revive()?;
        loop {
            match self.processes.wait_ready(patience, |_, _| {}).await {
                Err(ended @ ProcessError::Ended { .. }) if self.done.ended_by_themselves < 10 => {
                    self.ended(&ended)?;
                }
                ended => return Ok(ended?),
            }
        }
    }

    async fn inflict(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::Kill { node, down } => {
                self.kill(node).await?;
                sleep(down).await;
                self.processes.start(node)?;
                self.wait_for(node).await;
            }
            Fault::Pause { node, lasting } => {
                if let Some(victim) = self.processes.node_mut(node) {
                    victim.pause()?;
                    self.done.pauses += 1;
                    sleep(lasting).await;
                    victim.resume()?;
                }
                self.wait_for(node).await;
            }
            Fault::KillAll { down } => {
                for node in 0..self.processes.nodes().len() {
                    self.kill(node).await?;
                }
                self.done.full_stops += 1;
                sleep(down).await;
                self.processes.start_all()?;
                self.wait_for_all().await;
            }
        }
        Ok(())
    }

    async fn kill(&mut self, node: usize) -> Result<(), Failure> {
        if let Some(victim) = self.processes.node_mut(node) {
            victim.kill().await?;
            self.done.kills += 1;
        }
        Ok(())
    }

    /// Waits for the victim while kills are on time.
    async fn wait_for(&mut self, node: usize) {
        let since = Instant::now();
        self.weak = Some(node);
        loop {
            if self.processes.is_ready(node).await {
                self.weak = None;
                return;
            }
            if self.is_late() || since.elapsed() >= READY_PATIENCE {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn wait_for_all(&mut self) {
        let since = Instant::now();
        for node in 0..self.processes.nodes().len() {
            self.weak = Some(node);
            while !self.processes.is_ready(node).await {
                if since.elapsed() >= READY_PATIENCE_ALL {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        }
        self.weak = None;
    }

    fn is_late(&self) -> bool {
        let due = self.started.elapsed().as_millis() / KILL_EVERY.as_millis();
        u128::from(self.done.kills) < due
    }

    /// A node that ended by itself broke a promise, too; the others must go on being tried.
    fn revive(&mut self) -> Result<(), Failure> {
        while let Err(ended) = self.processes.check() {
            self.ended(&ended)?;
        }
        Ok(())
    }

    fn ended(&mut self, ended: &ProcessError) -> Result<(), Failure> {
        self.done.ended_by_themselves += 1;
        self.note(&ended.to_string());
        Ok(self.processes.start_all()?)
    }

    fn note(&mut self, what: &str) {
        // The diary is for whoever looks for the cause afterwards: a full disk must not end the trial.
        let _ = writeln!(self.diary, "{:9.3} s  {what}", self.started.elapsed().as_secs_f64());
    }
}
