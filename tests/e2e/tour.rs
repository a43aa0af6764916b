//! The README is a program: what it tells a stranger to type, word for word, must work.

use crate::harness::{Cluster, Turn, quorate, run};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Lines of the tour that are run by other tests, take minutes, or only set the stage for an interactive shell.
const ELSEWHERE: &[&str] = &["alias ", "quorate prove", "quorate bench", "cargo "];

/// The lines of the shell blocks below a heading.
fn commands<'a>(readme: &'a str, heading: &str) -> Vec<&'a str> {
    let section = readme.split_once(heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_the_readme_works_word_for_word() -> Result<()> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let tour = commands(&readme, "## A five-minute tour\n");
    ensure!(tour.len() > 6, "the tour was not found: {tour:?}");
    // The cluster of `quorate dev`, on other ports so that one that is running is left alone.
    let cluster = Cluster::start(3).await?;
    let path = std::env::join_paths(
        quorate()
            .parent()
            .map(Path::to_owned)
            .into_iter()
            .chain(std::env::split_paths(&std::env::var("PATH")?)),
    )?;
    let nodes: Vec<String> = cluster.nodes.iter().map(|n| n.address()).collect();
    for line in tour {
        if ELSEWHERE.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let mut here = line.to_owned();
        for (dev, node) in (7411_u16..).zip(&nodes) {
            here = here.replace(&format!("127.0.0.1:{dev}"), node);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &here]).env("PATH", &path).env("QUORATE_NODES", nodes.join(","));
        let output = shell.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(crate::harness::PATIENCE, output).await;
        let output = output.with_context(|| format!("`{line}` hangs"))??;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{line}` ended with {}:\n{stderr}", output.status);
        ensure!(!output.stdout.is_empty(), "`{line}` printed nothing");
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prove_kills_nodes_and_finds_nothing_lost() -> Result<()> {
    let _turn = Turn::take()?;
    let proof = run(&["prove", "--duration", "10s", "--seed", "1"]).await?;
    ensure!(proof.code == Some(0), "the ledger says why:\n{}\n{}", proof.stdout, proof.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_7_what_workers_move_in_commits_comes_out_once_though_they_and_nodes_are_killed() -> Result<()> {
    let _turn = Turn::take()?;
    let proof = run(&[
        "prove",
        "--exactly-once",
        "--duration",
        "15s",
        "--seed",
        "2",
        "--rate",
        "4000",
        "--output",
        "json",
    ])
    .await?;
    ensure!(proof.code == Some(0), "the ledger says why:\n{}\n{}", proof.stdout, proof.stderr);
    let ledger: serde_json::Value = serde_json::from_str(&proof.stdout)?;
    let count = |name: &str| ledger[name].as_u64().with_context(|| format!("{name} in {ledger}"));
    ensure!(count("moved")? >= count("confirmed")? && count("confirmed")? > 10_000, "{ledger}");
    ensure!(count("worker_kills")? >= 10 && count("kills")? >= 3, "{ledger}");
    Ok(())
}

#[tokio::test]
async fn the_example_configuration_is_accepted() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/quorate.toml");
    let printed = run(&["serve", "--config", &example.to_string_lossy(), "--print-config"]).await?;
    ensure!(printed.code == Some(0), "{}", printed.stderr);
    Ok(())
}

#[test]
fn the_commands_of_a_section_are_found() {
    let readme = "# T\n```sh\nno\n```\n## A five-minute tour\ntext\n```sh\na b\n# note\n\nc\n```\n## Next\n```sh\nno\n```\n";
    assert_eq!(commands(readme, "## A five-minute tour\n"), ["a b", "c"]);
}
