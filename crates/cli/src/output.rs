//! What comes out: text for people, JSON for scripts; progress on the terminal only.

use crate::failure::{Exit, Failure};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences.
    Text,
    /// JSON, one document a line where there are many.
    Json,
}

/// Writes results to standard output and everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// A result: the sentence for people, the document for scripts.
    pub(crate) fn result(self, text: impl AsRef<str>, document: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() { self.document(document) } else { self.text(text) }
    }

    /// A table for people, an array for scripts.
    pub(crate) fn table(
        self,
        header: &[&str],
        rows: Vec<Vec<String>>,
        documents: &[Value],
    ) -> Result<(), Failure> {
        if self.is_json() { self.document(&documents) } else { self.text(table(header, rows)) }
    }

    /// A line of text.
    pub(crate) fn text(self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// One JSON document, on a line of its own.
    pub(crate) fn document(self, document: &impl Serialize) -> Result<(), Failure> {
        let mut bytes = serde_json::to_vec(document).map_err(|e| Failure::Output(e.into()))?;
        bytes.push(b'\n');
        self.bytes(&bytes)
    }

    /// Bytes as they are. Written through: a consumer must not ack what nobody can see yet.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Output(error),
        })
    }

    /// Something to know on the way, on standard error; scripts are not bothered.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.is_json() {
            // Nobody is left to tell that nobody listens.
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// Why the command failed, on standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        if failure.exit() == Exit::Done {
            return;
        }
        let (code, message, exit) = (failure.code(), failure.to_string(), failure.exit() as u8);
        let line = if self.is_json() {
            json!({ "error": { "code": code, "message": message, "exit": exit } }).to_string()
        } else {
            format!("error: {code}: {message}")
        };
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// A spinner for long work; shown when standard error is a terminal.
    pub(crate) fn spinner(self, text: impl Into<String>) -> ProgressBar {
        self.progress(ProgressBar::new_spinner(), "{spinner} {wide_msg}", text)
    }

    /// A bar for work of known length; shown when standard error is a terminal.
    pub(crate) fn bar(self, length: u64, text: impl Into<String>) -> ProgressBar {
        self.progress(ProgressBar::new(length), "{spinner} [{elapsed_precise}] {bar:24} {wide_msg}", text)
    }

    fn progress(self, bar: ProgressBar, template: &str, text: impl Into<String>) -> ProgressBar {
        if self.is_json() {
            return ProgressBar::hidden();
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(text.into());
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        bar
    }
}

/// A table without lines, which is easy to read and to cut.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    // Without borders the blank that would keep text off the border is in the way.
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Bytes as a JSON value: text where they are text, else hexadecimal under another name.
pub(crate) fn bytes_field(document: &mut serde_json::Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => document.insert(name.to_owned(), text.into()),
        Err(_) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            document.insert(format!("{name}_hex"), hex.into())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_lines_up_without_trailing_blanks() {
        let text =
            table(&["NAME", "N"], vec![vec!["a".into(), "1".into()], vec!["long".into(), "22".into()]]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1].find('1'), lines[2].find("22"));
        assert!(lines.iter().all(|l| !l.ends_with(' ')));
    }

    #[test]
    fn bytes_that_are_no_text_come_as_hexadecimal() {
        let mut document = serde_json::Map::new();
        bytes_field(&mut document, "key", b"abc");
        bytes_field(&mut document, "payload", &[0xff, 0x00]);
        assert_eq!(Value::Object(document), json!({ "key": "abc", "payload_hex": "ff00" }));
    }
}
