//! Where the logs of a node go: standard error, as text or as one JSON object a line.

use crate::config::{LogFormat, LogSettings};
use crate::failure::Failure;
use std::fmt;
use std::io::IsTerminal;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Installs the subscriber of this process.
///
/// A filter that does not parse is a configuration error.
pub(crate) fn install(settings: &LogSettings, node: u64) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|e| Failure::Usage(format!("log.filter {:?}: {e}", settings.filter)))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().event_format(OfNode::new(node)).init(),
    }
    Ok(())
}

/// JSON lines that say whose they are: those of several nodes may go to one place.
struct OfNode {
    node: u64,
    line: Format<format::Json>,
}

impl OfNode {
    fn new(node: u64) -> Self {
        Self { node, line: format::format().json().flatten_event(true) }
    }
}

impl<S, N> FormatEvent<S, N> for OfNode
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"node_id\":{},{rest}", self.node),
            None => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_json_names_its_node_and_has_the_fields_of_its_event() {
        let lines = Lines::default();
        let to = lines.clone();
        let logs =
            tracing_subscriber::fmt().with_writer(move || to.clone()).json().event_format(OfNode::new(7));
        tracing::subscriber::with_default(logs.finish(), || tracing::warn!(group = 3, "it has no leader"));
        let line: serde_json::Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
        assert_eq!(
            (&line["node_id"], &line["group"], &line["level"]),
            (&7.into(), &3.into(), &"WARN".into())
        );
        assert_eq!(line["message"], "it has no leader");
    }
}
