//! Where the logs of a node go: standard error, as text or as one JSON object a line.

use crate::config::{LogFormat, LogSettings};
use crate::failure::Failure;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber of this process.
///
/// A filter that does not parse is a configuration error.
pub(crate) fn install(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|e| Failure::Usage(format!("log.filter {:?}: {e}", settings.filter)))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
