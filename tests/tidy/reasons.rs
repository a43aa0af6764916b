//! Every reason that a caller can meet is explained to them.

use crate::source::Violation;
use crate::workspace::Document;
use quorate_types::{Kind, Reason};

/// How the document heads the table of a kind.
const fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Refused => "**Refused**",
        Kind::Retryable => "**Retryable**",
        Kind::Fatal => "**Fatal**",
    }
}

/// Each reason has its row, in the table of its kind.
pub fn documented(document: &Document, reasons: &[Reason]) -> Vec<Violation> {
    let explained = |reason: &&Reason| {
        let section = document.text.split(heading(reason.kind())).nth(1).unwrap_or_default();
        let section = section.split("\n**").next().unwrap_or_default();
        section.contains(&format!("| `{}` |", reason.code()))
    };
    let missing = reasons.iter().filter(|reason| !explained(reason));
    let violation = |reason: &Reason| Violation {
        path: document.path.clone(),
        line: 1,
        what: format!("`{reason}` is not explained under {}", heading(reason.kind())),
    };
    missing.map(violation).collect()
}

#[test]
fn a_reason_that_is_missing_or_in_the_wrong_table_is_found() {
    let check = |text: &str| {
        let document = Document { path: "reasons.md".into(), text: text.to_owned() };
        documented(&document, &[Reason::NoQuorum]).len()
    };
    assert_eq!(check("**Refused**\n| `DUPLICATE` |\n\n**Retryable**\n| `NO_QUORUM` | …\n"), 0);
    assert_eq!(check("**Refused**\n| `NO_QUORUM` | …\n\n**Retryable**\n| `OVERLOADED` |\n"), 1);
    assert_eq!(check("**Retryable**\n| `OVERLOADED` |\n"), 1);
}
