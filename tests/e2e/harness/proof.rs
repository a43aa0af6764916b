//! `quorate prove` beside a story: load, and the books about it.

use super::binary::quorate;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Messages a second: enough that each fault hits some, few enough for a debug build on two cores.
const RATE: &str = "300";
/// After the load all is drained, and read back through every node.
const AFTERWARDS: Duration = Duration::from_secs(100);

/// Publishers and consumers of a running cluster, with a ledger of what they were told.
pub struct Proof {
    child: Child,
    lasts: Duration,
}

impl Proof {
    /// Begins, for so long.
    pub fn begin(addresses: &[String], lasts: Duration, arguments: &[String]) -> Result<Self> {
        let child = Command::new(quorate())
            .args(["prove", "--output=json", "--publishers=3", "--rate", RATE])
            .arg(format!("--duration={}ms", lasts.as_millis()))
            .arg(format!("--nodes={}", addresses.join(",")))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting quorate prove")?;
        Ok(Self { child, lasts })
    }

    /// Whether it still publishes.
    pub fn goes_on(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the proof has ended: {ended:?}");
        Ok(())
    }

    /// Waits for its end: nothing that was confirmed is lost or there twice, nothing came again after its ack was, and each publisher's
    /// messages came in order. Answers how many were confirmed.
    pub async fn kept(self) -> Result<u64> {
        let output = timeout(self.lasts + AFTERWARDS, self.child.wait_with_output()).await;
        let output = output.context("the proof does not end")??;
        let (report, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "the promise was not kept: {}\n{report}\n{said}", output.status);
        let report: Value =
            serde_json::from_str(&report).with_context(|| format!("no report: {report}\n{said}"))?;
        ensure!(report["kept"] == true, "{report}");
        let confirmed = report["confirmed"].as_u64().with_context(|| format!("confirmed in {report}"))?;
        // A story without load proves nothing.
        ensure!(confirmed > 500, "only {confirmed} messages were confirmed: {report}");
        Ok(confirmed)
    }
}
