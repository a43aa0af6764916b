//! What reads bytes is fuzzed: a decoder that nobody throws garbage at is one that was only ever shown what it likes.

use crate::source::{Scope, Source, Violation};
use crate::workspace::Document;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{ExprPath, ImplItemFn, ItemFn};

/// Where the targets are listed, by the files of their decoders.
pub const TABLE: &str = "docs/fuzzing.md";

/// What others read: results of a benchmark, and what the kernel says of processes.
const OTHERS: &[&str] = &["bench", "processes", "fuzz", "tests"];

/// A file that defines a decoder, or parses a text by serde, is in the table, or the `mod.rs` beside it is.
pub fn are_fuzzed(source: &Source, table: &Document) -> Vec<Violation> {
    if source.scope != Scope::Shipped || OTHERS.contains(&source.krate.as_str()) {
        return Vec::new();
    }
    let mut finder = Decoders(None);
    source.shipped.iter().for_each(|item| finder.visit_item(item));
    let Some(line) = finder.0 else { return Vec::new() };
    let path = source.path.strip_prefix("crates").unwrap_or(&source.path);
    let is_named = |path: &Path| table.text.contains(&format!("`{}`", path.display()));
    if is_named(path) || is_named(&path.with_file_name("mod.rs")) {
        return Vec::new();
    }
    vec![source.violation(line, format!("a decoder that is not in {TABLE}: give it a fuzz target"))]
}

/// The line of the first decoder.
struct Decoders(Option<usize>);

impl Decoders {
    fn check(&mut self, name: &syn::Ident) {
        if name == "decode" || name.to_string().starts_with("decode_") {
            self.0.get_or_insert(name.span().start().line);
        }
    }
}

impl<'ast> Visit<'ast> for Decoders {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.check(&function.sig.ident);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.check(&function.sig.ident);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [.., by, how] = names.as_slice()
            && ["serde_json", "toml"].contains(&by.as_str())
            && how.starts_with("from_")
        {
            self.0.get_or_insert(path.path.segments[0].ident.span().start().line);
        }
        visit::visit_expr_path(self, path);
    }
}

#[test]
fn a_decoder_that_is_not_in_the_table_is_found() {
    let text = "| `x/src/a.rs` | `fuzz_a` |\n| `x/src/rows/mod.rs` | `fuzz_rows` |".to_owned();
    let table = Document { path: TABLE.into(), text };
    let count = |path: &str, text: &str| are_fuzzed(&Source::snippet("x", path, text), &table).len();
    let decoder = "fn decode(bytes: &[u8]) {}";
    assert_eq!(count("crates/x/src/a.rs", decoder), 0);
    assert_eq!(count("crates/x/src/rows/topic.rs", decoder), 0);
    assert_eq!(count("crates/x/src/b.rs", decoder), 1);
    assert_eq!(count("crates/x/src/b.rs", "impl S { fn decode_it(bytes: &[u8]) {} }"), 1);
    assert_eq!(count("crates/x/src/b.rs", "fn read() { let a: A = serde_json::from_slice(b)?; }"), 1);
    assert_eq!(count("crates/x/src/b.rs", "fn encode() {} #[cfg(test)] mod t { fn decode() {} }"), 0);
}
