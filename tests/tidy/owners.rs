//! One owner per technology: what can be replaced is what one crate, or one kind of file, knows about.

use crate::source::{Source, Violation};
use crate::workspace::Dependency;
use std::path::Path;
use syn::visit::{self, Visit};

/// A package (or a family, by prefix) and the crates that may name it, tests included where they do.
const OWNERS: &[(&str, &[&str])] = &[
    ("openraft", &["consensus"]),
    ("sled", &["storage"]),
    // The simulator hands in a network of its own.
    ("tonic", &["wire", "node", "client", "consensus", "tests"]),
    ("prost", &["wire", "node", "client", "consensus"]),
    ("rustls", &["wire"]),
    ("tokio-rustls", &["wire"]),
    ("argon2", &["node"]),
    ("ring", &["node", "cli"]),
    ("axum", &["node"]),
    ("prometheus-client", &["node"]),
    // A test takes what nodes tell.
    ("opentelemetry", &["node", "tests"]),
    ("clap", &["cli", "bench", "tests"]),
    ("indicatif", &["cli", "tests"]),
    ("comfy-table", &["cli"]),
    ("turmoil", &["tests"]),
    ("bolero", &["fuzz"]),
    // Errors are enums; `anyhow` is for programs, the load generator's driver among them, and for tests.
    ("anyhow", &["cli", "bench", "tests"]),
];

pub fn crates(dependencies: &[Dependency]) -> Vec<Violation> {
    let strays = dependencies.iter().filter(|d| {
        let owned = OWNERS.iter().find(|(family, _)| is_of(family, &d.on));
        // Trying something out in a test is no ownership, save for the technologies whose types would leak.
        owned.is_some_and(|(_, owners)| d.shipped && !owners.contains(&d.from.as_str()))
    });
    let violation = |d: &Dependency| Violation {
        path: format!("crates/{}/Cargo.toml", d.from).into(),
        line: 1,
        what: format!("{} belongs to other crates than {}", d.on, d.from),
    };
    strays.map(violation).collect()
}

fn is_of(family: &str, package: &str) -> bool {
    package == family || package.strip_prefix(family).is_some_and(|rest| rest.starts_with('-'))
}

/// bincode is unmaintained: only files whose name or folder says codec may name it.
pub fn bincode_in_codec_files(source: &Source) -> Vec<Violation> {
    if is_codec(&source.path) {
        return Vec::new();
    }
    let mut finder = PathFinder { lines: Vec::new() };
    for item in &source.shipped {
        finder.visit_item(item);
    }
    let what = "bincode is named outside a codec file: move this into codec*.rs or a codec folder";
    finder.lines.into_iter().map(|line| source.violation(line, what)).collect()
}

fn is_codec(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.to_string_lossy();
        let stem = part.strip_suffix(".rs").unwrap_or(&part);
        stem.split('_').any(|word| word == "codec" || word == "codecs")
    })
}

struct PathFinder {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for PathFinder {
    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        if ident == "bincode" {
            self.lines.push(ident.span().start().line);
        }
        visit::visit_ident(self, ident);
    }
}

#[test]
fn a_technology_in_a_foreign_crate_is_found() {
    let depends =
        |from: &str, on: &str| Dependency { from: from.to_owned(), on: on.to_owned(), shipped: true };
    assert!(crates(&[depends("consensus", "openraft-rt"), depends("node", "tonic")]).is_empty());
    assert_eq!(crates(&[depends("node", "openraft-rt")]).len(), 1);
    assert_eq!(crates(&[depends("consensus", "sled")]).len(), 1);
    assert_eq!(crates(&[depends("machine", "tonic-prost")]).len(), 1);
    assert_eq!(crates(&[depends("node", "anyhow")]).len(), 1);
}

#[test]
fn bincode_outside_a_codec_file_is_found() {
    let text = "use bincode::config;\nfn f() -> u8 { bincode::decode(b\"\") }";
    assert!(bincode_in_codec_files(&Source::snippet("machine", "src/codec/topic.rs", text)).is_empty());
    assert!(bincode_in_codec_files(&Source::snippet("machine", "src/codec.rs", text)).is_empty());
    assert_eq!(bincode_in_codec_files(&Source::snippet("machine", "src/topic.rs", text)).len(), 2);
}
