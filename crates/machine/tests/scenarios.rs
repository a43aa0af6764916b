//! Golden scenarios: `tests/scenarios/*.txt` hold commands and, below each, what the machine answered and did.
//!
//! A line that begins with `>` is one entry; its operations are separated by ` ; `. What follows up to the next
//! blank line is the expected outcome. The commands are in `tests/script/mod.rs`. After a change that is meant
//! to be seen, write the outcomes anew with `QUORATE_BLESS=1 cargo test -p quorate-machine --test scenarios`
//! and read the difference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod script;

use script::Script;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files
}

/// The file as it would be if the machine were right: comments and commands as they are, outcomes anew.
fn played(text: &str) -> String {
    let mut script = Script::new();
    let mut out = String::new();
    let mut in_outcome = false;
    for line in text.lines() {
        if let Some(entry) = line.strip_prefix('>') {
            in_outcome = true;
            let _ = writeln!(out, "{line}");
            for line in script.entry(entry.trim()) {
                let _ = writeln!(out, "{line}");
            }
        } else if line.is_empty() || line.starts_with('#') {
            in_outcome = false;
            let _ = writeln!(out, "{line}");
        } else {
            assert!(in_outcome, "a line that is neither a command nor an outcome: {line:?}");
        }
    }
    script.finish();
    out
}

/// The first lines that differ, as a reader wants them.
fn difference(expected: &str, found: &str) -> Option<String> {
    let (mut expected, mut found) = (expected.lines(), found.lines());
    let mut command = "";
    for number in 1.. {
        match (expected.next(), found.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => command = if a.starts_with('>') { a } else { command },
            (a, b) => {
                let (a, b) = (a.unwrap_or("(end)"), b.unwrap_or("(end)"));
                return Some(format!("line {number}, after {command:?}:\n  expected {a}\n  found    {b}"));
            }
        }
    }
    None
}

#[test]
fn scenarios_have_the_outcomes_that_are_written_below_their_commands() {
    let bless = std::env::var_os("QUORATE_BLESS").is_some();
    let files = files();
    assert!(!files.is_empty(), "no scenarios were found");
    let mut failures = Vec::new();
    for path in files {
        let expected = fs::read_to_string(&path).unwrap();
        assert!(expected.lines().any(|line| line.starts_with('>')), "{} has no commands", path.display());
        let found = played(&expected);
        if bless {
            // Renamed into place, so that a run beside this one never reads half a file.
            let draft = path.with_extension("draft");
            fs::write(&draft, &found).unwrap();
            fs::rename(&draft, &path).unwrap();
        } else if let Some(difference) = difference(&expected, &found) {
            failures.push(format!("{}: {difference}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
