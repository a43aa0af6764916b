//! `quorate dev`

use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use crate::throwaway::binary;
use clap::Args;
use quorate_processes::{Ports, ProcessError, Processes, Spec};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Forming takes a second or two; a loaded machine gets more.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// A node has 10 s to stop in order.
const STOP_PATIENCE: Duration = Duration::from_secs(12);

/// Nodes that end by themselves are noticed so soon.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A node that did not live this long is not started again: it would only fail again.
const WORTH_RESTARTING: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Three real nodes, each a process of its own with its own data directory. Ctrl-C stops them; the next `quorate dev` on
the same directory goes on with the same data. A node that you kill is started again.

Examples:
  quorate dev
  quorate dev --dir /tmp/try --base-port 9411
  quorate dev --nodes 1";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevArgs {
    /// How many nodes.
    #[arg(long, value_name = "1|3", default_value = "3", value_parser = ["1", "3"])]
    nodes: String,
    /// Holds the data directory and the log of each node.
    #[arg(long, value_name = "PATH", default_value = "quorate-dev")]
    dir: PathBuf,
    /// Clients connect to this port and the following; peers 10 above, http 20 above.
    #[arg(long, value_name = "PORT", default_value_t = 7411)]
    base_port: u16,
}

pub(crate) async fn run(args: DevArgs, output: Output) -> Result<(), Failure> {
    let count: u16 = if args.nodes == "1" { 1 } else { 3 };
    let mut signals = Signals::catch()?;
    check_directory(&args.dir, count)?;
    let spec = Spec {
        binary: binary()?,
        directory: args.dir.clone(),
        ports: Ports::from_base(args.base_port, count)?,
        arguments: vec!["--auto-create-topics=true".to_owned()],
    };
    let mut processes = Processes::new(&spec);
    let node = if count == 1 { "node" } else { "nodes" };
    output.note(format!("starting {count} {node} in {}", args.dir.display()));
    processes.start_all()?;
    let ended = tokio::select! {
        biased;
        signal = signals.next() => Ok(signal),
        ended = serve(&mut processes, &args, output) => ended.map(|()| "an error"),
    };
    signals.exit_on_next();
    let stopped = stop(&mut processes, output).await;
    ended.and(stopped)
}

/// A directory of a cluster of another size would start nodes that do not know each other.
fn check_directory(dir: &Path, count: u16) -> Result<(), Failure> {
    let found = (1..=9).filter(|id| dir.join(format!("node-{id}")).is_dir()).count();
    if found == 0 || found == usize::from(count) {
        return Ok(());
    }
    Err(Failure::CannotStart {
        code: "WRONG_CLUSTER",
        message: format!(
            "{} holds a cluster of {found}: use --nodes {found}, another --dir, or remove it",
            dir.display()
        ),
    })
}

async fn serve(processes: &mut Processes, args: &DevArgs, output: Output) -> Result<(), Failure> {
    let tell = |spec: &quorate_processes::NodeSpec, took: Duration| {
        output.note(format!(
            "  node {} ready after {:.1} s: clients 127.0.0.1:{}, metrics http://127.0.0.1:{}/metrics, log {}",
            spec.id,
            took.as_secs_f64(),
            spec.ports.client,
            spec.ports.http,
            spec.log.display()
        ));
    };
    processes.wait_ready(READY_PATIENCE, tell).await?;
    welcome(processes, args, output)?;
    let mut started = vec![Instant::now(); processes.nodes().len()];
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(ended) = processes.check() {
            again(processes, &ended, &mut started, output)?;
        }
    }
}

/// A node that was killed comes back, as it would under any supervisor.
fn again(
    processes: &mut Processes,
    ended: &ProcessError,
    started: &mut [Instant],
    output: Output,
) -> Result<(), Failure> {
    let ProcessError::Ended { name, exit, log, .. } = ended else { return Ok(()) };
    let index = processes.nodes().iter().position(|n| n.command().name == *name);
    let Some((index, since)) = index.and_then(|i| started.get_mut(i).map(|since| (i, since))) else {
        return Ok(());
    };
    if since.elapsed() < WORTH_RESTARTING {
        output.note(format!("{name} ended again ({exit}) and stays down; see {}", log.display()));
        return Ok(());
    }
    *since = Instant::now();
    processes.start(index)?;
    let pid = processes.nodes().get(index).and_then(|n| n.pid()).unwrap_or_default();
    output.note(format!("{name} ended ({exit}); started again as process {pid}"));
    Ok(())
}

fn welcome(processes: &Processes, args: &DevArgs, output: Output) -> Result<(), Failure> {
    let addresses = processes.addresses();
    if output.is_json() {
        let pids: Vec<_> = processes.nodes().iter().map(|n| n.pid()).collect();
        return output.document(&json!({ "ready": true, "nodes": addresses, "pids": pids }));
    }
    // The defaults of all commands are the addresses of a default `dev`.
    let nodes =
        if args.base_port == 7411 { String::new() } else { format!(" --nodes {}", addresses.join(",")) };
    let pids: Vec<String> =
        processes.nodes().iter().filter_map(|n| n.pid()).map(|pid| pid.to_string()).collect();
    output.text(format!(
        "\nThe cluster is ready (processes {}). Try, in another terminal:\n\n  \
         quorate subscription create packing orders '*.paid'{nodes}\n  \
         quorate publish orders 'a book' --subject 7.paid{nodes}\n  \
         quorate consume packing --count 1{nodes}\n  \
         quorate cluster status{nodes}\n\nCtrl-C stops it.",
        pids.join(", ")
    ))
}

async fn stop(processes: &mut Processes, output: Output) -> Result<(), Failure> {
    output.note("\nstopping");
    for report in processes.stop_all(STOP_PATIENCE).await? {
        match report.exit {
            Some(exit) if exit.is_clean() => output.note(format!("  node {} stopped", report.node)),
            Some(exit) => output.note(format!("  node {} ended with {exit}", report.node)),
            None => output.note(format!(
                "  node {} did not stop within {} s and was killed",
                report.node,
                STOP_PATIENCE.as_secs()
            )),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_of_a_cluster_of_another_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_directory(dir.path(), 3).is_ok());
        for id in 1..=3 {
            std::fs::create_dir(dir.path().join(format!("node-{id}"))).unwrap();
        }
        assert!(check_directory(dir.path(), 3).is_ok());
        assert_eq!(check_directory(dir.path(), 1).unwrap_err().code(), "WRONG_CLUSTER");
    }
}
