//! The two programs: one built of a commit of the past, one of this tree.

use super::progress::say;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// From where upgrades are tried: the last commit whose machine has version 1 only. When the version is raised again, this becomes the
/// last commit before that.
pub(crate) const OLDER: &str = "2afd228e9c5fbc7a957c325d02bf624f13e5912b";

/// Where both are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) older: PathBuf,
    pub(crate) newer: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Apart from what is built for tests, which has other features.
fn target() -> PathBuf {
    root().join("target").join("upgrade")
}

/// The program of a commit. A commit does not change, so it is built once.
pub(crate) fn of_commit(commit: &str) -> Result<PathBuf> {
    let commit = git(&["rev-parse", "--verify", &format!("{commit}^{{commit}}")])?;
    let program = target().join(format!("quorate-{commit}"));
    if program.exists() {
        return Ok(program);
    }
    let tree = Tree::check_out(&commit)?;
    say!("building the older program, of commit {commit}: some minutes, once");
    build(&tree.path, "older", &program)?;
    Ok(program)
}

/// The program of this tree.
pub(crate) fn of_this_tree() -> Result<PathBuf> {
    let program = target().join("quorate-newer");
    say!("building the newer program, of this tree");
    build(&root(), "newer", &program)?;
    Ok(program)
}

/// A path from anywhere, also for processes that run elsewhere.
pub(crate) fn given(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no program {}", path.display()))
}

/// Each tree has a place of its own to build in: cargo does not tell crates apart by where the workspace is that they belong to, and would
/// take those of the other tree for built.
fn build(tree: &Path, place: &str, program: &Path) -> Result<()> {
    let place = target().join(place);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--package", "quorate-cli", "--bin", "quorate"]).current_dir(tree);
    cargo.env("CARGO_TARGET_DIR", &place).stdin(Stdio::null());
    let status = cargo.status().context("running cargo")?;
    ensure!(status.success(), "cargo build in {} ended with {status}", tree.display());
    // Beside one that may run, not over it.
    let new = program.with_extension("new");
    std::fs::copy(place.join("debug").join("quorate"), &new).context("putting the program aside")?;
    std::fs::rename(&new, program)?;
    Ok(())
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(root()).output().context("running git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A commit, checked out beside this tree for as long as this lives.
struct Tree {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Tree {
    /// Outside of this tree, whose settings of cargo would be added to its own.
    fn check_out(commit: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("quorate-upgrade-").tempdir()?;
        let path = directory.path().join("tree");
        git(&["worktree", "add", "--detach", &path.to_string_lossy(), commit])?;
        Ok(Self { path, _directory: directory })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What is left of it in the repository, `git worktree prune` takes away.
        if let Err(error) = git(&["worktree", "remove", "--force", &self.path.to_string_lossy()]) {
            say!("the worktree was not removed: {error:#}");
        }
    }
}
