//! One source file, parsed, with what is compiled for tests only set apart.

use std::fmt;
use std::path::PathBuf;
use syn::spanned::Spanned;
use syn::{Attribute, ImplItem, Item, Meta};

/// What a file is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A library or binary: what ships.
    Shipped,
    /// An example: read by users, so held to the same rules.
    Example,
    /// A build script.
    Build,
    /// A test target, or a module behind `#[cfg(test)]`.
    Test,
}

/// One file of one crate.
pub struct Source {
    /// Short name of its crate: `machine`, not `quorate-machine`.
    pub krate: String,
    /// Relative to the workspace.
    pub path: PathBuf,
    pub text: String,
    pub scope: Scope,
    /// Everything in it.
    pub all: syn::File,
    /// Without what is compiled for tests only. Empty in [`Scope::Test`].
    pub shipped: Vec<Item>,
    /// Lines that belong to items which are compiled for tests only.
    pub test_lines: usize,
}

/// A rule broken at a place.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub path: PathBuf,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

impl Source {
    pub fn parse(krate: &str, path: PathBuf, text: String, scope: Scope) -> syn::Result<Self> {
        let all = syn::parse_file(&text)?;
        let mut test_lines = 0;
        let shipped = match scope {
            Scope::Test => Vec::new(),
            Scope::Shipped | Scope::Example | Scope::Build => strip(all.items.clone(), &mut test_lines),
        };
        Ok(Self { krate: krate.to_owned(), path, text, scope, all, shipped, test_lines })
    }

    /// A file for a rule's self-test.
    pub fn snippet(krate: &str, path: &str, text: &str) -> Self {
        Self::parse(krate, path.into(), text.to_owned(), Scope::Shipped).expect("the snippet parses")
    }

    pub fn violation(&self, line: usize, what: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, what: what.into() }
    }

    /// Whether it is its crate's root file.
    pub fn is_lib(&self) -> bool {
        self.path.ends_with("src/lib.rs")
    }
}

/// Whether the attributes keep an item out of what ships: `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]` and its
/// kin. `#[cfg(any(test, feature = "…"))]` can ship.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let names_test = attribute.path().segments.last().is_some_and(|s| s.ident == "test");
        names_test || (attribute.path().is_ident("cfg") && requires_test(&attribute.meta))
    })
}

fn requires_test(cfg: &Meta) -> bool {
    let Meta::List(list) = cfg else { return cfg.path().is_ident("test") };
    if !list.path.is_ident("cfg") && !list.path.is_ident("all") {
        return false;
    }
    let parser = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
    list.parse_args_with(parser).is_ok_and(|parts| parts.iter().any(requires_test))
}

fn strip(items: Vec<Item>, test_lines: &mut usize) -> Vec<Item> {
    let mut kept = Vec::new();
    for mut item in items {
        if is_test_only(attributes(&item)) {
            *test_lines += lines(&item);
            continue;
        }
        match &mut item {
            Item::Mod(module) => {
                if let Some((_, content)) = &mut module.content {
                    *content = strip(std::mem::take(content), test_lines);
                }
            }
            Item::Impl(block) => block.items.retain(|inner| {
                let test = matches!(inner, ImplItem::Fn(f) if is_test_only(&f.attrs));
                *test_lines += if test { lines(inner) } else { 0 };
                !test
            }),
            _ => {}
        }
        kept.push(item);
    }
    kept
}

fn lines(node: &impl Spanned) -> usize {
    let span = node.span();
    span.end().line - span.start().line + 1
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::ExternCrate(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::ForeignMod(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

#[test]
fn what_is_compiled_for_tests_only_is_set_apart() {
    let source = Source::snippet(
        "x",
        "src/x.rs",
        "fn ships() {}\n#[cfg(test)]\nmod tests {\n fn a() {}\n}\n#[cfg(all(test, unix))]\nfn b() {}\n\
         #[cfg(any(test, feature = \"testing\"))]\nfn can_ship() {}\n#[tokio::test]\nasync fn c() {}\n\
         impl S { #[cfg(test)] fn d() {} fn ships_too() {} }",
    );
    assert_eq!(source.shipped.len(), 3);
    assert_eq!(source.test_lines, 4 + 2 + 2 + 1);
}
