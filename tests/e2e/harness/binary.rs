//! The binary under test.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How a command of the binary ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command that takes longer hangs: the longest deadline of the program is a third of it.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Where cargo puts the binaries of the profile under which this test was built.
pub fn target_directory() -> PathBuf {
    // target/<profile>/deps/e2e-<hash>
    let test = std::env::current_exe().expect("a process knows its executable");
    test.ancestors().nth(2).expect("tests are in target/<profile>/deps").to_owned()
}

/// The `quorate` binary. `cargo test --workspace` builds it; when only this test is built, it is made here.
pub fn quorate() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = target_directory().join(format!("quorate{}", std::env::consts::EXE_SUFFIX));
        if is_older_than_sources(&binary) {
            build().expect("the quorate binary builds");
        }
        binary
    })
}

fn build() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", "quorate-cli", "--bin", "quorate"]).current_dir(root());
    if target_directory().ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.stdin(Stdio::null()).status().context("running cargo")?;
    ensure!(status.success(), "cargo build ended with {status}");
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A test against yesterday's binary proves nothing about today's sources.
fn is_older_than_sources(binary: &Path) -> bool {
    let built = binary.metadata().and_then(|m| m.modified());
    built
        .map_or(true, |built| newest(&root().join("crates")).max(newest(&root().join("proto"))) > Some(built))
}

fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(directory).ok()?.flatten().map(|e| e.path());
    let times = entries.filter_map(|path| {
        let relevant = path.extension().is_some_and(|e| e == "rs" || e == "proto");
        if path.is_dir() {
            newest(&path)
        } else {
            path.metadata().and_then(|m| m.modified()).ok().filter(|_| relevant)
        }
    });
    times.max()
}

/// Runs a command of the binary to its end, without a terminal and without settings from the environment.
pub async fn run(arguments: &[&str]) -> Result<Finished> {
    let mut command = tokio::process::Command::new(quorate());
    let kept = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("QUORATE_"));
    command.args(arguments).env_clear().envs(kept).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(COMMAND_LIMIT, command.output()).await;
    let output = output.with_context(|| format!("quorate {} hangs", arguments.join(" ")))??;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
