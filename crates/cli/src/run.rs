//! From the command line to an exit status.

use crate::args::{Cli, Command};
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use clap::Parser;
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Runtime { source })?;
    let ended = runtime.block_on(dispatch(cli.command, output));
    // A blocked read of stdin must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn dispatch(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => commands::serve::run(*args, output).await,
        Command::Health(args) => commands::health::run(args, output).await,
        Command::Dev(args) => commands::dev::run(args, output).await,
        Command::Topic(args) => commands::topic::run(args, output).await,
        Command::Subscription(args) => commands::subscription::run(args, output).await,
        Command::Top(args) => commands::top::run(args, output).await,
        Command::Namespace(args) => commands::namespace::run(args, output).await,
        Command::Quota(args) => commands::quota::run(args, output).await,
        Command::Producer(args) => commands::producer::run(args, output).await,
        Command::User(args) => commands::user::run(args, output).await,
        Command::Role(args) => commands::role::run(args, output).await,
        Command::Token(args) => commands::token::run(args, output),
        Command::Publish(args) => commands::publish::run(args, output).await,
        Command::Request(args) => commands::request::run(args, output).await,
        Command::Consume(args) => commands::consume::run(args, output).await,
        Command::Move(args) => commands::moving::run(args, output).await,
        Command::Read(args) => commands::read::run(args, output).await,
        Command::Cluster(args) => commands::cluster::run(args, output).await,
        Command::Backup(args) => commands::backup::run(args, output).await,
        Command::Restore(args) => commands::restore::run(args, output).await,
        Command::Export(args) => commands::export::run(args, output).await,
        Command::Import(args) => commands::import::run(args, output).await,
        Command::Bench(args) => commands::bench::run(args, output).await,
        Command::Prove(args) => commands::prove::run(args, output).await,
    }
}
