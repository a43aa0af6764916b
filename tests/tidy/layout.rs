//! Where things are, and what must not be left lying about.

use crate::source::{Scope, Source, Violation};
use crate::workspace::{Document, Workspace};
use syn::Item;

/// `lib.rs` is what a stranger opens first: the crate's documentation, its modules, what it offers.
pub fn lib_is_a_table_of_contents(source: &Source) -> Vec<Violation> {
    if !source.is_lib() || source.scope != Scope::Shipped {
        return Vec::new();
    }
    let stray = |item: &&Item| match item {
        Item::Mod(module) => module.content.is_some(),
        Item::Use(_) | Item::ExternCrate(_) => false,
        _ => true,
    };
    let place = |item: &Item| syn::spanned::Spanned::span(item).start().line;
    let what =
        "lib.rs holds documentation, attributes, `mod` lines and re-exports only: move this into a module";
    source.shipped.iter().filter(stray).map(|item| source.violation(place(item), what)).collect()
}

/// Marks of unfinished work, written in two halves so that this file does not find itself.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Places that exist on one machine only.
const PLACES: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/"), concat!("/wo", "rk/")];

pub fn no_leftovers(source: &Source) -> Vec<Violation> {
    leftovers(&source.text).into_iter().map(|(line, what)| source.violation(line, what)).collect()
}

pub fn no_leftovers_in_text(document: &Document) -> Vec<Violation> {
    let found = leftovers(&document.text).into_iter();
    found.map(|(line, what)| Violation { path: document.path.clone(), line, what }).collect()
}

fn leftovers(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for mark in UNFINISHED.iter().filter(|mark| words.contains(mark)) {
            found.push((number + 1, format!("{mark}: do it now, or open an issue")));
        }
        for place in PLACES.iter().filter(|place| line.contains(*place)) {
            found.push((number + 1, format!("{place}: a path of somebody's machine")));
        }
    }
    found
}

/// A file that no target reaches is not compiled, not linted and not tested, and looks as if it were.
pub fn no_orphans(workspace: &Workspace) -> Vec<Violation> {
    let reached = |path: &_| workspace.sources.iter().any(|s| &s.path == path);
    let orphans = workspace.files.iter().filter(|path| !reached(*path));
    orphans
        .map(|path| Violation {
            path: path.clone(),
            line: 1,
            what: "no target compiles this file".to_owned(),
        })
        .collect()
}

#[test]
fn code_in_lib_rs_is_found() {
    let count = |path: &str, text: &str| lib_is_a_table_of_contents(&Source::snippet("x", path, text)).len();
    assert_eq!(count("crates/x/src/lib.rs", "//! Docs.\nmod a;\npub mod b;\npub use a::A;"), 0);
    assert_eq!(count("crates/x/src/lib.rs", "pub fn f() {}"), 1);
    assert_eq!(count("crates/x/src/lib.rs", "mod a { }"), 1);
    assert_eq!(count("crates/x/src/lib.rs", "pub const A: u8 = 1; struct S;"), 2);
    assert_eq!(count("crates/x/src/a.rs", "pub fn f() {}"), 0);
}

#[test]
fn leftovers_are_found() {
    for mark in UNFINISHED {
        assert_eq!(
            leftovers(&format!("// fine\n// {mark}: later")),
            [(2, format!("{mark}: do it now, or open an issue"))]
        );
    }
    for place in PLACES {
        assert_eq!(leftovers(&format!("let p = \"{place}me\";")).len(), 1);
    }
    assert!(leftovers("// a method and a hacksaw; see /tmp").is_empty());
}

#[test]
fn an_orphan_is_found() {
    let source = Source::snippet("x", "crates/x/src/lib.rs", "");
    let files = ["crates/x/src/lib.rs", "crates/x/src/forgotten.rs"].map(Into::into);
    let workspace = Workspace {
        root: "".into(),
        sources: vec![source],
        dependencies: Vec::new(),
        manifests: Vec::new(),
        documents: Vec::new(),
        files: files.into(),
    };
    assert_eq!(no_orphans(&workspace).len(), 1);
}
