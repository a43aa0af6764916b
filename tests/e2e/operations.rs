//! docs/operations.md is a program: each block that is marked as `sh run` works, in order, in one shell.
//!
//! To add a section: append it to the document, and mark the blocks that are to be run with "```sh run". They find what the
//! blocks before them left: a cluster whose addresses are in `QUORATE_NODES`, the functions `start`, `stop` and `address`,
//! and an empty directory of their own to work in. They leave a cluster behind with which nothing is wrong.

use crate::harness::{Turn, free_ports, quorate};
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// All of it takes a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(600);
/// Ports that the document uses, from its base on.
const PORTS: u16 = 40;

/// The marked blocks, in order.
fn blocks(document: &str) -> Vec<&str> {
    document.split("```sh run\n").skip(1).filter_map(|block| block.split("\n```").next()).collect()
}

/// The shell's processes end with the test, however that ends.
struct Shell(Pid);

impl Drop for Shell {
    fn drop(&mut self) {
        // Gone already when all has ended as it should.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// A base from which on no port is in use.
fn free_base() -> Result<u16> {
    let is_free = |base: u16| {
        (base..base.checked_add(PORTS)?)
            .all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
            .then_some(base)
    };
    let drawn = free_ports(20)?;
    drawn.iter().find_map(|ports| is_free(ports.client)).context("twenty ranges of ports are in use")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operations_in_the_document_work_word_for_word() -> Result<()> {
    let _turn = Turn::take()?;
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"))?;
    let blocks = blocks(&document);
    ensure!(blocks.len() > 6, "the blocks were not found: {blocks:?}");
    let script = format!("set -eux\n{}\nkill -9 $(cat node-*.pid) 2>/dev/null || true\n", blocks.join("\n"));

    let directory = tempfile::Builder::new().prefix("quorate-operations-").tempdir()?;
    let here = quorate().parent().map(Path::to_owned);
    let path = std::env::join_paths(here.into_iter().chain(std::env::split_paths(&std::env::var("PATH")?)))?;
    let kept = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(directory.path()).env_clear().envs(kept);
    bash.env("PATH", path).env("PORTS", free_base()?.to_string());
    bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = bash.spawn().context("starting bash")?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let _shell = Shell(pid.context("a process has an id")?);
    let output = timeout(LIMIT, child.wait_with_output()).await.context("the operations hang")??;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        for entry in std::fs::read_dir(directory.path())?.flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- the end of {} ---\n{tail}", entry.path().display());
        }
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it ended with {}:\n{stdout}\n{stderr}", output.status);
    ensure!(stdout.matches("nothing is wrong").count() >= 3, "{stdout}");
    ensure!(stdout.contains("a book"), "what was published before all this is not there:\n{stdout}");
    Ok(())
}

#[test]
fn only_marked_blocks_are_run() {
    assert_eq!(blocks("```sh\nno\n```\n```sh run\na\nb\n```\ntext\n```sh run\nc\n```\n"), ["a\nb", "c"]);
}
