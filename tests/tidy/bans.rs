//! What code may not do. Clippy sees types and guards the same borders for people at their editors; these rules see
//! names, also inside macros, and cannot be silenced by an attribute.

use crate::source::{Scope, Source, Violation};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ExprMethodCall, Macro};

/// Calls that panic because their author did not want to handle a case.
const PANICKING_METHODS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err"];

/// Macros that do. `unreachable!` and `assert!` state an invariant and stay.
const PANICKING_MACROS: &[&str] = &["panic", "todo", "unimplemented", "dbg"];

/// A client must not be able to take a node down, and a node that stops does it on purpose, with a reason.
pub fn no_chosen_panics(source: &Source) -> Vec<Violation> {
    let mut finder = Panics { source, found: Vec::new() };
    for item in &source.shipped {
        finder.visit_item(item);
    }
    finder.found
}

struct Panics<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl Panics<'_> {
    fn found(&mut self, line: usize, what: &str) {
        self.found.push(self.source.violation(line, format!("{what} outside tests: return an error")));
    }

    /// Macros' arguments are not parsed by syn: `.unwrap(` and `panic!` are looked for in the tokens.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for pair in tokens.windows(2) {
            match pair {
                [TokenTree::Punct(dot), TokenTree::Ident(name)] if dot.as_char() == '.' => {
                    let name = name.to_string();
                    if PANICKING_METHODS.contains(&name.as_str()) {
                        self.found(pair[1].span().start().line, &format!(".{name}()"));
                    }
                }
                [TokenTree::Ident(name), TokenTree::Punct(bang)] if bang.as_char() == '!' => {
                    let name = name.to_string();
                    if PANICKING_MACROS.contains(&name.as_str()) {
                        self.found(pair[0].span().start().line, &format!("{name}!"));
                    }
                }
                _ => {}
            }
        }
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.scan(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Panics<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let name = call.method.to_string();
        if PANICKING_METHODS.contains(&name.as_str()) {
            self.found(call.method.span().start().line, &format!(".{name}()"));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let Some(name) = call.path.segments.last().map(|s| &s.ident)
            && PANICKING_MACROS.iter().any(|m| name == m)
        {
            self.found(name.span().start().line, &format!("{name}!"));
        }
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let lifted = ["unwrap_used", "expect_used", "todo", "unimplemented", "dbg_macro"];
        if let syn::Meta::List(list) = &attribute.meta
            && (list.path.is_ident("allow") || list.path.is_ident("expect"))
        {
            let text = list.tokens.to_string().replace(' ', "");
            for lint in lifted.iter().filter(|lint| text.contains(&format!("clippy::{lint}"))) {
                self.found(
                    list.path.segments[0].ident.span().start().line,
                    &format!("allow(clippy::{lint})"),
                );
            }
        }
    }
}

/// What a library says goes through `tracing`, where an operator can filter it; standard output belongs to the
/// commands of programs, and to examples.
pub fn libraries_do_not_print(source: &Source) -> Vec<Violation> {
    let program = ["cli", "tests"].contains(&source.krate.as_str())
        || source.path.starts_with("crates/bench/src/compare");
    let prints = !program && source.scope == Scope::Shipped;
    let mut finder = Prints { source, found: Vec::new() };
    source.shipped.iter().filter(|_| prints).for_each(|item| finder.visit_item(item));
    finder.found
}

struct Prints<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl<'ast> Visit<'ast> for Prints<'_> {
    fn visit_macro(&mut self, call: &'ast Macro) {
        if let Some(name) = call.path.segments.last().map(|s| &s.ident)
            && ["print", "println", "eprint", "eprintln"].iter().any(|m| name == m)
        {
            let what = format!("{name}! in a library: use tracing");
            self.found.push(self.source.violation(name.span().start().line, what));
        }
        visit::visit_macro(self, call);
    }
}

/// Names that have no business in a pure function of the log: clocks, randomness, hash order, the outside world.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
    "RandomState",
    "DefaultHasher",
    "rand",
    "tokio",
    "futures",
    "env",
    "fs",
    "net",
    "io",
    "thread",
    "process",
    "Mutex",
    "RwLock",
    "AtomicU64",
    "async",
    "await",
];

/// Same entries, same bytes, on every node and every version: rule 6. `types` is below the machine and held alike,
/// save for what its seams name.
pub fn machine_is_pure(source: &Source) -> Vec<Violation> {
    if !["machine", "types"].contains(&source.krate.as_str()) || source.scope != Scope::Shipped {
        return Vec::new();
    }
    let mut finder = Impure { source, found: Vec::new() };
    for item in &source.shipped {
        finder.visit_item(item);
    }
    finder.found
}

struct Impure<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl Impure<'_> {
    fn check(&mut self, ident: &proc_macro2::Ident) {
        if IMPURE.iter().any(|name| ident == name) {
            let what = format!(
                "`{ident}` in {}: the state machine is a pure function of the log",
                self.source.krate
            );
            self.found.push(self.source.violation(ident.span().start().line, what));
        }
    }

    fn scan(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => self.check(&ident),
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Impure<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        for segment in &path.segments {
            self.check(&segment.ident);
        }
        visit::visit_path(self, path);
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.check(&path.ident),
            syn::UseTree::Name(name) => self.check(&name.ident),
            syn::UseTree::Rename(rename) => self.check(&rename.ident),
            syn::UseTree::Glob(_) | syn::UseTree::Group(_) => {}
        }
        visit::visit_use_tree(self, tree);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = signature.asyncness {
            let what = "an async fn in a crate that does no I/O";
            self.found.push(self.source.violation(token.span.start().line, what));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// An unbiased `select!` draws the order of its arms from a generator that no seed reaches.
pub fn select_is_biased(source: &Source) -> Vec<Violation> {
    let mut finder = Selects { source, found: Vec::new() };
    for item in &source.shipped {
        finder.visit_item(item);
    }
    finder.found
}

struct Selects<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl<'ast> Visit<'ast> for Selects<'_> {
    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        let first = call.tokens.clone().into_iter().next().map(|t| t.to_string()).unwrap_or_default();
        if name == "select" && first != "biased" {
            let line = call.path.segments[0].ident.span().start().line;
            self.found
                .push(self.source.violation(line, "select! without `biased;`: its order is drawn at random"));
        }
        visit::visit_macro(self, call);
    }
}

#[test]
fn chosen_panics_are_found_also_inside_macros() {
    let count = |text: &str| no_chosen_panics(&Source::snippet("node", "src/x.rs", text)).len();
    assert_eq!(count("fn f() { a.unwrap(); }"), 1);
    assert_eq!(count("fn f() { a.b()?.expect(\"c\"); }"), 1);
    assert_eq!(count("fn f() { panic!(\"no\"); }"), 1);
    assert_eq!(count("fn f() { todo!() }"), 1);
    assert_eq!(count("fn f() { println!(\"{}\", a.unwrap()); }"), 1);
    assert_eq!(count("fn f() { select! { biased; x = y => { panic!(\"deep\") } } }"), 1);
    assert_eq!(count("#[allow(clippy::unwrap_used)]\nfn f() {}"), 1);
    assert_eq!(count("#[cfg(test)]\nmod tests { #[test] fn t() { a.unwrap(); } }"), 0);
    assert_eq!(count("fn f() { a.unwrap_or_default(); unreachable!(); }"), 0);
}

#[test]
fn a_print_in_a_library_is_found() {
    let count = |krate: &str| {
        libraries_do_not_print(&Source::snippet(krate, "src/x.rs", "fn f() { eprintln!(\"here\"); }")).len()
    };
    assert_eq!(count("storage"), 1);
    assert_eq!(count("cli"), 0);
}

#[test]
fn impurity_is_found_in_the_machine_and_nowhere_else() {
    let count = |krate: &str, text: &str| machine_is_pure(&Source::snippet(krate, "src/x.rs", text)).len();
    assert_eq!(count("machine", "use std::time::{Duration, Instant};"), 1);
    assert_eq!(count("machine", "fn f() { std::time::SystemTime::now(); }"), 1);
    assert_eq!(count("machine", "struct S { a: std::collections::HashMap<u8, u8> }"), 1);
    assert_eq!(count("machine", "fn f() { rand::random::<u8>(); }"), 1);
    assert_eq!(count("machine", "fn f() { std::env::var(\"A\"); std::fs::read(\"b\"); }"), 2);
    assert_eq!(count("machine", "async fn f() {}"), 1);
    assert_eq!(count("machine", "fn f() { vec![Instant::now()]; }"), 1);
    assert_eq!(count("machine", "use std::collections::BTreeMap; use std::time::Duration;"), 0);
    assert_eq!(count("machine", "#[cfg(test)] mod tests { use std::collections::HashMap; }"), 0);
    assert_eq!(count("node", "use std::time::Instant;"), 0);
}

#[test]
fn a_select_in_random_order_is_found() {
    let count = |text: &str| select_is_biased(&Source::snippet("node", "src/x.rs", text)).len();
    assert_eq!(count("fn f() { tokio::select! { a = b => {} } }"), 1);
    assert_eq!(count("fn f() { tokio::select! { biased; a = b => {} } }"), 0);
}
