//! `quorate serve`

use crate::config::{Settings, Typed, read};
use crate::failure::Failure;
use crate::output::Output;
use crate::run::block_on;
use crate::signals::Signals;
use clap::Args;
use quorate_node::{Node, Seams};
use std::path::PathBuf;
use std::time::Duration;

/// The promise is 10 s from the signal to the exit; the rest is for the end of the process itself.
const STOP_WITHIN: Duration = Duration::from_millis(9_500);

const EXAMPLES: &str = "\
A setting is taken from the flag, else from the environment, else from the file, else it has its default:
see them all with --print-config, whose output is a valid file.

Examples:
  quorate serve                                     one node alone, data in ./quorate-data
  quorate serve --node 1 --data-dir /var/lib/quorate --listen-client 0.0.0.0:7411 --listen-peer 0.0.0.0:7421 \\
    --peers 1=10.0.0.1:7421,2=10.0.0.2:7421,3=10.0.0.3:7421
  QUORATE_NODE=2 quorate serve --config /etc/quorate.toml
  quorate serve --print-config > quorate.toml";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "PATH", env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// Print every setting with its value, and exit.
    #[arg(long)]
    print_config: bool,
    /// Stop when standard input closes: for a parent that must not leave nodes behind.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
    #[command(flatten)]
    typed: Typed,
}

pub(crate) fn run(args: ServeArgs, output: Output) -> Result<(), Failure> {
    for name in
        crate::environment::unknown(std::env::vars_os().map(|(n, _)| n.to_string_lossy().into_owned()))
    {
        output
            .note(format!("warning: {name} is set, but no setting has this name: see quorate serve --help"));
    }
    let file = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let settings = Settings::resolve(args.typed.or(file))?;
    if args.print_config {
        return print(&settings, output);
    }
    // Before anything is touched.
    settings.node.check_exposure()?;
    crate::logging::install(&settings.log, settings.node.node.get())?;
    block_on(settings.worker_threads(), serve(settings, args.exit_with_parent))
}

async fn serve(settings: Settings, exit_with_parent: bool) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let seams = Seams::production(&settings.data_dir, &settings.node)?;
    // Reading a long log takes a while, and nothing is promised to anybody before it is done: who is told to go meanwhile
    // goes at once, as a process that is killed could.
    let node = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(cause = signal, "stopped before the data directory was open");
            return Ok(());
        }
        started = Node::start(settings.node, seams) => started?,
    };
    let addresses = node.addresses();
    tracing::info!(
        client = %addresses.client,
        peer = %addresses.peer,
        http = addresses.http.map(tracing::field::display),
        data_dir = %settings.data_dir.display(),
        "listening"
    );
    until_stopped(node, signals, exit_with_parent).await
}

/// Serves until a signal, the end of the parent or a failure.
async fn until_stopped(node: Node, mut signals: Signals, exit_with_parent: bool) -> Result<(), Failure> {
    let mut failed = node.failed();
    let ended = tokio::select! {
        biased;
        failure = failed.wait_for(Option::is_some) => Err(failure.ok().and_then(|f| f.clone())),
        signal = signals.next() => Ok(signal),
        () = parent_gone(exit_with_parent) => Ok("the end of the parent"),
    };
    signals.exit_on_next();
    match ended {
        Ok(cause) => {
            tracing::info!(cause, "stopping");
            node.shutdown(STOP_WITHIN).await;
            tracing::info!("stopped");
            Ok(())
        }
        // Nothing more is written: what failed must not be written over (DESIGN §2.12).
        Err(failure) => Err(failure.map_or(Failure::Interrupted, Failure::from)),
    }
}

/// Returns when standard input closes, if that is to be looked at.
async fn parent_gone(exit_with_parent: bool) {
    if exit_with_parent {
        // Whatever comes is not for us; an error is an end as well.
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    } else {
        std::future::pending().await
    }
}

fn print(settings: &Settings, output: Output) -> Result<(), Failure> {
    let typed = settings.typed();
    if output.is_json() {
        return output.document(&typed);
    }
    let text = toml::to_string(&typed).map_err(|e| Failure::Output(std::io::Error::other(e)))?;
    output.text(text.trim_end())
}
