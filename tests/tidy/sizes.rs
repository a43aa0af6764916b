//! Sizes. A file that fits a sitting and a function that fits a screen get read; others get skimmed.

use crate::source::{Scope, Source, Violation};
use syn::visit::{self, Visit};
use syn::{Block, Expr, ImplItemFn, ItemFn, Signature, Stmt, TraitItemFn};

/// A sitting. Aim at 150 and ask yourself at 400.
const FILE_LINES_MAX: usize = 600;

/// What an editor shows without scrolling on a small screen.
const FUNCTION_LINES_MAX: usize = 70;

pub fn file(source: &Source) -> Vec<Violation> {
    if source.scope == Scope::Test {
        return Vec::new();
    }
    let lines = source.text.lines().count() - source.test_lines;
    let what =
        format!("{lines} lines without tests; the limit is {FILE_LINES_MAX}: split it by what it is about");
    if lines > FILE_LINES_MAX { vec![source.violation(1, what)] } else { Vec::new() }
}

pub fn functions(source: &Source) -> Vec<Violation> {
    let mut finder = LongFunctions { source, found: Vec::new() };
    for item in &source.shipped {
        finder.visit_item(item);
    }
    finder.found
}

struct LongFunctions<'a> {
    source: &'a Source,
    found: Vec<Violation>,
}

impl LongFunctions<'_> {
    fn check(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - first + 1;
        if lines > FUNCTION_LINES_MAX && !is_table(block) {
            let what = format!("{} has {lines} lines; the limit is {FUNCTION_LINES_MAX}", signature.ident);
            self.found.push(self.source.violation(first, what));
        }
    }
}

/// Whether the function is one exhaustive match and nothing else: a table, which splitting makes harder to read.
fn is_table(block: &Block) -> bool {
    let [Stmt::Expr(only, None)] = block.stmts.as_slice() else { return false };
    let mut expression = only;
    loop {
        expression = match expression {
            Expr::Match(_) => return true,
            Expr::Try(inner) => &inner.expr,
            Expr::Await(inner) => &inner.base,
            Expr::Paren(inner) => &inner.expr,
            Expr::Call(call) if call.args.len() == 1 => &call.args[0],
            _ => return false,
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.check(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.check(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.check(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let long = |lines: usize| "// line\n".repeat(lines);
    assert!(file(&Source::snippet("x", "src/x.rs", &long(600))).is_empty());
    assert_eq!(file(&Source::snippet("x", "src/x.rs", &long(601))).len(), 1);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", long(590), long(500));
    assert!(file(&Source::snippet("x", "src/x.rs", &tests)).is_empty());
}

#[test]
fn a_long_function_is_found_and_a_table_is_not() {
    let body = "    work();\n".repeat(69);
    let function = format!("fn f() {{\n{body}}}");
    assert_eq!(functions(&Source::snippet("x", "src/x.rs", &function)).len(), 1);
    let method = format!("impl S {{ fn f(&self) {{\n{body}}} }}");
    assert_eq!(functions(&Source::snippet("x", "src/x.rs", &method)).len(), 1);
    let provided = format!("trait T {{ fn f(&self) {{\n{body}}} }}");
    assert_eq!(functions(&Source::snippet("x", "src/x.rs", &provided)).len(), 1);
    let inner = format!("mod m {{ fn outer() {{ fn f() {{\n{body}}} }} }}");
    assert_eq!(functions(&Source::snippet("x", "src/x.rs", &inner)).len(), 2);
    let short = format!("fn f() {{\n{}}}", "    work();\n".repeat(68));
    assert!(functions(&Source::snippet("x", "src/x.rs", &short)).is_empty());
    let table = format!("fn f(n: u8) -> u8 {{\nmatch n {{\n{}_ => 0 }}\n}}", "    1 => 1,\n".repeat(90));
    assert!(functions(&Source::snippet("x", "src/x.rs", &table)).is_empty());
    let test = format!("#[test]\nfn f() {{\n{body}}}");
    assert!(functions(&Source::snippet("x", "src/x.rs", &test)).is_empty());
}
