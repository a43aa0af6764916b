//! SIGINT and SIGTERM: the first asks for an orderly end, the second means it.

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit status of a process that a second signal ended: 128 + SIGINT, as shells say it.
const EXIT_INTERRUPTED: i32 = 130;

/// Both signals, caught from the moment of its making.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|source| Failure::Runtime { source });
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// From now on the next signal ends the process at once.
    pub(crate) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(EXIT_INTERRUPTED);
        });
    }
}
