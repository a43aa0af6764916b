//! From the command line to an exit status.

use crate::args::{Cli, Command};
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use clap::Parser;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::process::ExitCode;

/// Reads the command line, does what it says and tells how that ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way, too, and are no failure. Nobody is left to tell about a closed stdout.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let output = Output::new(cli.output);
    match run(cli, output) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}

fn run(cli: Cli, output: Output) -> Result<(), Failure> {
    let work: Pin<Box<dyn Future<Output = Result<(), Failure>>>> = match cli.command {
        // Its settings say on how many threads it runs.
        Command::Serve(args) => return commands::serve::run(*args, output),
        Command::Token(args) => return commands::token::run(args, output),
        Command::Health(args) => Box::pin(commands::health::run(args, output)),
        Command::Dev(args) => Box::pin(commands::dev::run(args, output)),
        Command::Topic(args) => Box::pin(commands::topic::run(args, output)),
        Command::Subscription(args) => Box::pin(commands::subscription::run(args, output)),
        Command::Top(args) => Box::pin(commands::top::run(args, output)),
        Command::Namespace(args) => Box::pin(commands::namespace::run(args, output)),
        Command::Quota(args) => Box::pin(commands::quota::run(args, output)),
        Command::Producer(args) => Box::pin(commands::producer::run(args, output)),
        Command::User(args) => Box::pin(commands::user::run(args, output)),
        Command::Role(args) => Box::pin(commands::role::run(args, output)),
        Command::Publish(args) => Box::pin(commands::publish::run(args, output)),
        Command::Request(args) => Box::pin(commands::request::run(args, output)),
        Command::Consume(args) => Box::pin(commands::consume::run(args, output)),
        Command::Move(args) => Box::pin(commands::moving::run(args, output)),
        Command::Read(args) => Box::pin(commands::read::run(args, output)),
        Command::Cluster(args) => Box::pin(commands::cluster::run(args, output)),
        Command::Backup(args) => Box::pin(commands::backup::run(args, output)),
        Command::Restore(args) => Box::pin(commands::restore::run(args, output)),
        Command::Export(args) => Box::pin(commands::export::run(args, output)),
        Command::Import(args) => Box::pin(commands::import::run(args, output)),
        Command::Bench(args) => Box::pin(commands::bench::run(args, output)),
        Command::Prove(args) => Box::pin(commands::prove::run(args, output)),
    };
    block_on(None, work)
}

/// Does this on so many threads; on as many as there are cores when it is not said.
pub(crate) fn block_on(
    threads: Option<NonZeroUsize>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    let runtime = builder.enable_all().build().map_err(|source| Failure::Runtime { source })?;
    let ended = runtime.block_on(work);
    // A blocked read of stdin must not hold up the end.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Handle;

    #[test]
    fn work_runs_on_as_many_threads_as_were_said() {
        let ran = block_on(NonZeroUsize::new(3), async {
            assert_eq!(Handle::current().metrics().num_workers(), 3);
            Ok(())
        });
        assert!(ran.is_ok());
    }
}
