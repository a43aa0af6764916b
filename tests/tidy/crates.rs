//! The order of the crates. What a crate may know about is the first thing that a reader wants to rely on, and the
//! first that erodes: one dependency the wrong way and the pure core knows about sockets.

use crate::source::Violation;
use crate::workspace::{Dependency, short};

/// Every member of the workspace, lowest first.
pub const ALL: &[&str] = &[
    "types",
    "machine",
    "storage",
    "wire",
    "consensus",
    "node",
    "client",
    "processes",
    "bench",
    "cli",
    "fuzz",
    "tests",
];

/// A crate and the members that it may depend on to run. Test dependencies are free.
const TABLE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("machine", &["types"]),
    // Only for `GroupId` and `LogId`: bytes on disk know nothing of what they mean.
    ("storage", &["types"]),
    ("wire", &["types"]),
    ("consensus", &["types", "machine", "storage", "wire"]),
    ("node", &["types", "machine", "storage", "wire", "consensus"]),
    ("client", &["types", "wire"]),
    // Programs of any kind, from outside: it knows nothing of ours but how a node is started.
    ("processes", &[]),
    ("bench", &["types", "client", "processes"]),
    ("cli", &["types", "node", "client", "processes", "bench"]),
    // What fuzz targets share: it knows nothing of what they read.
    ("fuzz", &[]),
    ("tests", ALL),
];

pub fn order(dependencies: &[Dependency]) -> Vec<Violation> {
    let ours = dependencies
        .iter()
        .filter(|d| d.shipped && ALL.contains(&short(&d.on)) && d.on.starts_with("quorate-"));
    ours.filter(|d| !allowed(&d.from).contains(&short(&d.on)))
        .map(|d| Violation {
            path: format!("crates/{}/Cargo.toml", d.from).into(),
            line: 1,
            what: format!("{} may not depend on {}; it may on {:?}", d.from, short(&d.on), allowed(&d.from)),
        })
        .collect()
}

fn allowed(krate: &str) -> &'static [&'static str] {
    TABLE.iter().find(|(name, _)| *name == krate).map_or(&[], |(_, may)| may)
}

#[test]
fn a_dependency_down_the_table_is_found() {
    let depends =
        |from: &str, on: &str, shipped| Dependency { from: from.to_owned(), on: on.to_owned(), shipped };
    assert!(order(&[depends("node", "quorate-consensus", true)]).is_empty());
    assert!(order(&[depends("machine", "quorate-storage", false)]).is_empty(), "test dependencies are free");
    assert_eq!(order(&[depends("machine", "quorate-storage", true)]).len(), 1);
    assert_eq!(order(&[depends("client", "quorate-node", true)]).len(), 1);
    assert_eq!(
        order(&[depends("newcomer", "quorate-types", true)]).len(),
        1,
        "a new crate is entered in the table"
    );
}
