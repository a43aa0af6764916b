//! `cargo run -p quorate-tests --bin sim`: runs seeds, replays one, or proves that planted bugs are caught.

mod progress;
mod resume;

use anyhow::{Context, Result, bail};
use clap::Parser;
use progress::Progress;
use quorate_sim::{BUGS, Plan, Pool, Report, Request, bug, run};
use resume::Resume;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Seeds that a planted bug may take before it counts as not caught.
const SEEDS_PER_BUG: u64 = 300;

/// Simulates whole clusters under faults, from seeds. The same seed does the same, byte for byte.
///
/// A run forms a cluster of three, disturbs it while clients use it, ends all faults, lets it settle and checks that nothing
/// that was promised was broken. Exits 1 when something was.
#[derive(Debug, Parser)]
struct Arguments {
    /// Replay one seed, with all that happens in it.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "bugs"])]
    seed: Option<u64>,

    /// The seeds to run, both ends included: 1..200.
    #[arg(long, value_parser = range, default_value = "1..200")]
    seeds: (u64, u64),

    /// Run from the first of the seeds on for so long, however many that are.
    #[arg(long)]
    minutes: Option<u64>,

    /// Go on where the run that wrote this file stopped, and keep it up to date.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// How long faults last, in simulated seconds.
    #[arg(long, default_value_t = 10)]
    chaos: u64,

    /// Let the code make this mistake; --bugs lists them.
    #[arg(long, value_parser = known_bug)]
    bug: Option<&'static str>,

    /// Let the code make each of the planted mistakes, and see that all are noticed.
    #[arg(long)]
    bugs: bool,

    /// Processes at a time. Default: one for each core.
    #[arg(long)]
    jobs: Option<usize>,

    /// With --seed: also what the code itself logs, by a filter such as quorate=debug.
    #[arg(long, value_name = "FILTER", requires = "seed")]
    log: Option<String>,

    /// With --seed: print the report as JSON and nothing else. What --seeds runs.
    #[arg(long, requires = "seed", hide = true)]
    one: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("give the first and the last seed, as in 1..200")?;
    let number =
        |text: &str| text.trim_start_matches('=').parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
    let (from, to) = (number(from)?, number(to)?);
    if from > to { Err(format!("{from} comes after {to}")) } else { Ok((from, to)) }
}

fn known_bug(name: &str) -> Result<&'static str, String> {
    bug(name).ok_or_else(|| format!("no such planted bug; there are: {}", BUGS.join(", ")))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let good = match arguments.seed {
        Some(seed) => replay(&arguments, seed)?,
        None if arguments.bugs => hunt(&arguments)?,
        None => many(&arguments)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One seed in this process.
fn replay(arguments: &Arguments, seed: u64) -> Result<bool> {
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
    }
    let plan = Plan::of(seed, Duration::from_secs(arguments.chaos));
    let report = run(Request { plan, bug: arguments.bug, print: !arguments.one });
    if arguments.one {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("trace {:016x}, {:?} simulated", report.trace, report.simulated);
        println!("{}", report.explain(arguments.bug));
    }
    Ok(report.violation.is_none())
}

fn pool(arguments: &Arguments) -> Result<Pool> {
    let binary = std::env::current_exe().context("a process knows its executable")?;
    let mut pool = Pool::new(&binary);
    pool.chaos = Duration::from_secs(arguments.chaos);
    pool.bug = arguments.bug;
    pool.jobs = arguments.jobs.unwrap_or(pool.jobs).max(1);
    Ok(pool)
}

/// Many seeds, each in a process of its own.
fn many(arguments: &Arguments) -> Result<bool> {
    let (from, to) = arguments.seeds;
    let to = if arguments.minutes.is_some() { u64::MAX } else { to };
    let until = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let mut resume = match &arguments.resume {
        Some(path) => Resume::open(path, arguments.bug)?,
        None => Resume::default(),
    };
    let done = resume.clone();
    let seeds = (from..=to)
        .filter(move |seed| !done.has(*seed))
        .take_while(move |_| until.is_none_or(|until| Instant::now() < until));
    let mut progress = Progress::new(if until.is_some() { None } else { Some(resume.left(from, to)) });
    let mut failed = Ok(());
    pool(arguments)?.run(seeds, |report| {
        progress.take(&report, arguments.bug);
        failed = resume.note(&report);
        failed.is_ok()
    });
    failed.context("keeping the file of --resume up to date")?;
    progress.end();
    progress.points();
    if let Some(path) = &arguments.resume {
        println!("{}: {}", path.display(), resume.summary());
    }
    Ok(progress.is_good())
}

/// Each planted bug, until it is noticed.
fn hunt(arguments: &Arguments) -> Result<bool> {
    let mut needed = Vec::new();
    for name in BUGS {
        let pool = Pool { bug: Some(name), ..pool(arguments)? };
        let caught = first_caught(&pool, arguments.seeds.0);
        match &caught {
            Some((seeds, report)) => {
                let what = report.violation.as_ref().map(ToString::to_string).unwrap_or_default();
                println!("{seeds:>4} seeds: {name}: {}", what.chars().take(110).collect::<String>());
                needed.push(*seeds);
            }
            None => println!("   never: {name}: not noticed in {SEEDS_PER_BUG} seeds"),
        }
    }
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or(u64::MAX);
    println!("{} of {} planted bugs are noticed; the median takes {median} seeds", needed.len(), BUGS.len());
    if needed.is_empty() {
        bail!("no planted bug is noticed: the build lacks them");
    }
    Ok(needed.len() == BUGS.len())
}

/// How many seeds it took to notice, and what was noticed. In the order of seeds, so that it is the same each time.
fn first_caught(pool: &Pool, from: u64) -> Option<(u64, Report)> {
    let mut caught: Option<Report> = None;
    pool.run(from..from + SEEDS_PER_BUG, |report| {
        let first = caught.as_ref().is_none_or(|caught| report.seed < caught.seed);
        if report.violation.is_some() && first {
            caught = Some(report);
        }
        caught.is_none()
    });
    caught.map(|report| (report.seed - from + 1, report))
}
