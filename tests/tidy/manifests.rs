//! Versions and lints are decided once, at the top: a member that brings its own is a second opinion nobody sees.

use crate::source::Violation;
use crate::workspace::Manifest;
use toml::{Table, Value};

pub fn inherits(manifest: &Manifest) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let tables = tables_of(&manifest.toml, kind);
        let entries = tables.iter().flat_map(|t| t.iter());
        let strays = entries.filter(|(_, d)| d.get("workspace") != Some(&Value::Boolean(true)));
        wrong.extend(
            strays.map(|(name, _)| format!("{kind}.{name} brings its own version: use `workspace = true`")),
        );
    }
    let lints = manifest.toml.get("lints").and_then(Value::as_table);
    if !lints.is_some_and(|l| l.len() == 1 && l.get("workspace") == Some(&Value::Boolean(true))) {
        wrong.push("[lints] must be `workspace = true` and nothing else".to_owned());
    }
    let inherited = ["version", "edition", "rust-version", "license", "publish"];
    let package = manifest.toml.get("package");
    for key in inherited {
        let value = package.and_then(|p| p.get(key)).and_then(|v| v.get("workspace"));
        if value != Some(&Value::Boolean(true)) {
            wrong.push(format!("package.{key} must be inherited: `{key}.workspace = true`"));
        }
    }
    wrong.into_iter().map(|what| Violation { path: manifest.path.clone(), line: 1, what }).collect()
}

/// The tables of a kind of dependency, those under `[target.'cfg(…)']` included.
fn tables_of<'a>(manifest: &'a Table, kind: &str) -> Vec<&'a Table> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let holders = targets.filter_map(|t| t.get(kind)).chain(manifest.get(kind));
    holders.filter_map(Value::as_table).collect()
}

#[test]
fn a_member_with_its_own_version_or_lints_is_found() {
    let good = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";
    let check = |text: String| {
        inherits(&Manifest { krate: "x".to_owned(), path: "Cargo.toml".into(), toml: text.parse().unwrap() })
            .len()
    };
    assert_eq!(
        check(format!("{good}[dependencies]\na.workspace = true\nb = {{ workspace = true, features = [] }}")),
        0
    );
    assert_eq!(check(format!("{good}[dependencies]\na = \"1\"")), 1);
    assert_eq!(check(format!("{good}[dev-dependencies]\na = {{ version = \"1\" }}")), 1);
    assert_eq!(check(format!("{good}[target.'cfg(unix)'.dependencies]\na = \"1\"")), 1);
    assert_eq!(check(good.replace("[lints]\nworkspace = true", "[lints.clippy]\nall = \"allow\"")), 1);
    assert_eq!(check(good.replace("version.workspace = true\nedition", "version = \"2\"\nedition")), 1);
}
