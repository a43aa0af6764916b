//! The house rules, held by a test. Each rule lives in a file of its own, says why it is there, and proves on a bad
//! snippet that it can fail.
//!
//! Sources are read as the compiler reads them: from each target's root along its `mod` lines, with what is compiled
//! for tests only set apart. Dependencies come from `cargo metadata` and from the manifests.

#![allow(clippy::expect_used, reason = "a test ends by a panic that says what was expected")]
#![allow(
    unreachable_pub,
    reason = "a test target exports nothing; `pub` says what its modules offer each other"
)]

mod bans;
mod crates;
mod decoders;
mod documents;
mod layout;
mod manifests;
mod owners;
mod reasons;
mod sizes;
mod source;
mod workspace;

use source::{Source, Violation};
use workspace::Workspace;

/// Read anew by each test: syntax trees stay on the thread that parsed them, and all of it takes a fraction of a second.
fn workspace() -> Workspace {
    Workspace::load().expect("the workspace loads")
}

/// Fails with every violation on a line of its own, as `path:line: what`.
fn hold(violations: Vec<Violation>) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violation(s):\n{}", lines.len(), lines.join("\n"));
}

fn in_every_source(rule: fn(&Source) -> Vec<Violation>) {
    hold(workspace().sources.iter().flat_map(rule).collect());
}

#[test]
fn crates_depend_only_up_the_table() {
    hold(crates::order(&workspace().dependencies));
}

#[test]
fn every_technology_has_one_owner() {
    hold(owners::crates(&workspace().dependencies));
    in_every_source(owners::bincode_in_codec_files);
}

#[test]
fn versions_and_lints_are_in_the_workspace_manifest_only() {
    hold(workspace().manifests.iter().flat_map(manifests::inherits).collect());
}

#[test]
fn files_have_at_most_600_lines() {
    in_every_source(sizes::file);
}

#[test]
fn functions_have_at_most_70_lines() {
    in_every_source(sizes::functions);
}

#[test]
fn nothing_outside_tests_panics_by_choice() {
    in_every_source(bans::no_chosen_panics);
}

#[test]
fn libraries_print_nothing() {
    in_every_source(bans::libraries_do_not_print);
}

#[test]
fn the_machine_touches_no_clock_no_randomness_no_hash_order_and_no_io() {
    in_every_source(bans::machine_is_pure);
}

#[test]
fn every_select_is_biased() {
    in_every_source(bans::select_is_biased);
}

#[test]
fn lib_rs_holds_docs_modules_and_re_exports_only() {
    in_every_source(layout::lib_is_a_table_of_contents);
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    in_every_source(layout::no_leftovers);
    hold(workspace().documents.iter().flat_map(layout::no_leftovers_in_text).collect());
}

#[test]
fn every_source_file_is_compiled() {
    hold(layout::no_orphans(&workspace()));
}

#[test]
fn every_test_that_architecture_names_exists() {
    let workspace = workspace();
    let architecture = workspace.document("ARCHITECTURE.md").expect("ARCHITECTURE.md is at the top");
    hold(documents::tests_exist(architecture, &workspace.sources));
}

#[test]
fn every_decoder_has_a_fuzz_target() {
    let workspace = workspace();
    let table = workspace.document(decoders::TABLE).expect("the table of fuzz targets is there");
    hold(workspace.sources.iter().flat_map(|source| decoders::are_fuzzed(source, table)).collect());
    hold(documents::tests_exist(table, &workspace.sources));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let workspace = workspace();
    let texts = workspace.documents.iter().filter(|d| d.path.extension().is_some_and(|e| e == "md"));
    let exists = |path: &std::path::Path| workspace.root.join(path).exists();
    hold(texts.flat_map(|d| documents::links_lead_somewhere(d, exists)).collect());
}

#[test]
fn every_reason_is_explained() {
    let workspace = workspace();
    let document = workspace.document("docs/reasons.md").expect("docs/reasons.md is there");
    hold(reasons::documented(document, quorate_types::Reason::ALL));
}

#[test]
fn the_rules_see_the_whole_workspace() {
    // A loader that silently finds nothing would make every rule above pass.
    let workspace = workspace();
    let members: Vec<&str> = workspace.manifests.iter().map(|m| m.krate.as_str()).collect();
    assert_eq!(members, crates::ALL, "members of the workspace, sorted as in the table");
    for member in members {
        assert!(workspace.sources.iter().any(|s| s.krate == member), "no source of {member} was read");
    }
}
