//! `cargo run -p quorate-tests --bin upgrade`: upgrades a cluster of real processes, node by node and under load, from a program of the
//! past to the one of this tree, and checks that nobody notices. It is a command of its own because it builds two programs.

mod checks;
mod cluster;
mod facts;
mod load;
mod programs;
mod progress;
mod story;

use anyhow::{Context, Result};
use clap::Parser;
use cluster::Cluster;
use facts::Facts;
use load::{Amount, Books, Load};
use programs::{OLDER, Programs};
use progress::{elapsed, say};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use story::{Done, Story, older_does_not_go_on};

/// Upgrades three nodes one after the other, from the program of an older commit to that of this tree, while clients of both programs
/// publish, consume and commit.
///
/// On the way one node goes back to the older program, nodes lose their disks and get everything from one of the other program, and
/// what only the newer program knows is tried, and refused, through each node. When the last node is upgraded all groups go over to the newer
/// version of the machine by themselves, and what was refused works; then the older program is started once more, and must not go on.
/// Exits 1 when something was lost, came twice or differs.
#[derive(Debug, Parser)]
struct Arguments {
    /// The commit of the older program.
    #[arg(long, value_name = "COMMIT", default_value = OLDER)]
    older: String,

    /// The older program itself, instead of a commit of which it is built.
    #[arg(long, value_name = "PATH", conflicts_with = "older")]
    older_bin: Option<PathBuf>,

    /// The newer program, instead of this tree, of which it is built.
    #[arg(long, value_name = "PATH")]
    newer_bin: Option<PathBuf>,

    /// How long the load lasts. The upgrade happens meanwhile, or that is an error.
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// Messages a second, of the clients of each program.
    #[arg(long, value_name = "N", default_value_t = 300)]
    rate: u32,

    /// Keep data and logs also when all is well.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    elapsed();
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let older = match &arguments.older_bin {
        Some(path) => programs::given(path)?,
        None => programs::of_commit(&arguments.older)?,
    };
    let newer = match &arguments.newer_bin {
        Some(path) => programs::given(path)?,
        None => programs::of_this_tree()?,
    };
    let programs = Programs { older, newer };
    let mut cluster = Cluster::start(&programs).await.context("starting the older program")?;
    say!("three nodes of the older program form a cluster: {}", cluster.addresses().join(", "));
    let upgraded = upgrade(&mut cluster, &programs, arguments).await;
    if arguments.keep || upgraded.is_err() {
        cluster.keep();
        say!("data and logs are in {}", cluster.directory().display());
    }
    upgraded
}

async fn upgrade(cluster: &mut Cluster, programs: &Programs, arguments: &Arguments) -> Result<()> {
    let facts = Facts::make(&cluster.client()?).await.context("what is to be there later")?;
    let amount = Amount { duration: arguments.duration, messages_per_second: arguments.rate };
    let (nodes, directory) = (cluster.addresses(), cluster.directory());
    let mut loads = vec![
        Load::start("older", &programs.older, &nodes, amount, 1, &directory)?,
        Load::start("newer", &programs.newer, &nodes, amount, 2, &directory)?,
    ];
    let mut story = Story { cluster, loads: &mut loads, done: Done::default() };
    let told = story.tell().await;
    let done = story.done;
    if told.is_err() {
        for load in loads {
            load.give_up().await;
        }
        return told;
    }
    say!("upgraded; the load goes on to its end, and its books are closed");
    let mut books: Vec<Books> = Vec::new();
    for load in loads {
        books.push(load.finish().await?);
    }
    books.iter().try_for_each(Books::check)?;
    facts.check(&cluster.client()?).await.context("what was there before the upgrade")?;
    older_does_not_go_on(cluster).await?;
    let equal = cluster.wait_equal().await?;
    cluster.stop().await?;
    cluster.check_logs()?;
    println!(
        "{} upgrades and {} downgrades of a node, {} lost disks, {} snapshots sent; led by {:?} while mixed; {} calls refused: UPGRADING",
        done.upgrades, done.downgrades, done.wipes, done.snapshots, done.led_by, done.refused
    );
    for book in &books {
        println!("{}", book.line()?);
    }
    for group in &equal.groups {
        let state = group.replicas.first().map_or(0, |replica| replica.state_hash);
        println!(
            "group {}: version {}, {} replicas with state {state:016x} after entry {}",
            group.id,
            group.machine_version,
            group.replicas.len(),
            group.commit_index
        );
    }
    println!("Nothing was lost, nothing came twice, and what was there before the upgrade is there.");
    Ok(())
}
