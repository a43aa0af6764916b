//! Documents that name tests must name tests that exist: a promise whose proof was renamed away is only a promise.

use crate::source::{Source, Violation, is_test_only};
use crate::workspace::Document;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{ItemFn, Macro};

/// How a document marks the cell of a table row that names tests.
const MARK: &str = "held by";

/// Every name in backquotes, in the columns of a table that are headed by [`MARK`], is a test.
pub fn tests_exist(document: &Document, sources: &[Source]) -> Vec<Violation> {
    let known = test_names(sources);
    let missing = named(&document.text).into_iter().filter(|(_, name)| !known.contains(name));
    missing
        .map(|(line, name)| Violation {
            path: document.path.clone(),
            line,
            what: format!("there is no test `{name}`"),
        })
        .collect()
}

/// Every link of a document to a file of this repository leads somewhere.
pub fn links_lead_somewhere(document: &Document, exists: impl Fn(&Path) -> bool) -> Vec<Violation> {
    let mut broken = Vec::new();
    for (number, line) in document.text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://");
            let path = document.path.parent().unwrap_or(Path::new("")).join(target);
            if !outside && !exists(&path) {
                let what = format!("the link to {target} leads nowhere");
                broken.push(Violation { path: document.path.clone(), line: number + 1, what });
            }
        }
    }
    broken
}

fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut columns: Vec<bool> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if !line.starts_with('|') {
            columns.clear();
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells.iter().map(|cell| cell.eq_ignore_ascii_case(MARK)).collect();
            continue;
        }
        let marked = cells.iter().zip(&columns).filter(|(_, marked)| **marked);
        let names = marked.flat_map(|(cell, _)| cell.split('`').skip(1).step_by(2));
        found.extend(names.map(|name| (number + 1, name.to_owned())));
    }
    found
}

fn test_names(sources: &[Source]) -> BTreeSet<String> {
    let mut finder = Tests::default();
    for source in sources {
        finder.visit_file(&source.all);
    }
    finder.names
}

#[derive(Default)]
struct Tests {
    names: BTreeSet<String>,
}

impl Tests {
    /// Tests that a macro (`proptest!`, a contract suite) writes: every `fn name` in its tokens.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for pair in tokens.windows(2) {
            if let [TokenTree::Ident(keyword), TokenTree::Ident(name)] = pair
                && keyword == "fn"
            {
                self.names.insert(name.to_string());
            }
        }
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.scan(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if is_test_only(&function.attrs) {
            self.names.insert(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.scan(call.tokens.clone());
    }
}

#[test]
fn a_test_that_is_named_and_not_there_is_found() {
    let source = Source::snippet(
        "x",
        "src/x.rs",
        "#[test] fn there() {} #[tokio::test] async fn also() {} fn helper() {} proptest! { #[test] fn prop(a in 0..9) {} }",
    );
    let check = |table: &str| {
        let text = format!("`prose` is free\n\n| rule | held by |\n|---|---|\n{table}\n");
        tests_exist(&Document { path: "A.md".into(), text }, std::slice::from_ref(&source)).len()
    };
    assert_eq!(check("| `one` | `there`, `also`, `prop` |"), 0);
    assert_eq!(check("| `one` | `missing` |"), 1);
    assert_eq!(check("| one | `helper` |"), 1, "a function that is no test proves nothing");
}

#[test]
fn a_broken_link_is_found() {
    let check = |text: &str| {
        let document = Document { path: "docs/a.md".into(), text: text.to_owned() };
        links_lead_somewhere(&document, |path| path == Path::new("docs/b.md")).len()
    };
    assert_eq!(
        check("see [b](b.md), [there](b.md#part), [above](#here) and [elsewhere](https://example.org/c.md)"),
        0
    );
    assert_eq!(check("see [b](b.md) and [c](c.md)"), 1);
}
