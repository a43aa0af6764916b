//! Reads the workspace: members, manifests, dependencies, documents, and sources along their `mod` lines.

use crate::crates;
use crate::source::{Scope, Source, is_test_only};
use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package, TargetKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Expr, ExprLit, Item, Lit, Meta};

/// One dependency of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Short name of the member that depends.
    pub from: String,
    /// Package name of what it depends on.
    pub on: String,
    /// Whether it is needed to run, not only to test or to build.
    pub shipped: bool,
}

/// A member's Cargo.toml.
pub struct Manifest {
    pub krate: String,
    pub path: PathBuf,
    pub toml: toml::Table,
}

/// A text that is not Rust.
pub struct Document {
    pub path: PathBuf,
    pub text: String,
}

pub struct Workspace {
    /// The directory of the workspace's manifest, to which all paths are relative.
    pub root: PathBuf,
    pub sources: Vec<Source>,
    pub dependencies: Vec<Dependency>,
    pub manifests: Vec<Manifest>,
    pub documents: Vec<Document>,
    /// Every `.rs` file below a member, whether a target reaches it or not.
    pub files: BTreeSet<PathBuf>,
}

/// `quorate-machine` is `machine` in the rules.
pub fn short(package: &str) -> &str {
    package.strip_prefix("quorate-").unwrap_or(package)
}

impl Workspace {
    pub fn load() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .other_options(vec!["--offline".to_owned()])
            .exec()?;
        let mut packages = metadata.packages;
        packages.sort_by_key(|p| crates::ALL.iter().position(|c| *c == short(&p.name)));
        let mut sources = BTreeMap::new();
        let mut files = BTreeSet::new();
        let mut manifests = Vec::new();
        for package in &packages {
            read_targets(&root, package, &mut sources)?;
            let directory = package.manifest_path.parent().context("a manifest is in a directory")?;
            rust_files(&root, directory.as_std_path(), &mut files)?;
            manifests.push(Manifest {
                krate: short(&package.name).to_owned(),
                path: package.manifest_path.strip_prefix(&root)?.into(),
                toml: std::fs::read_to_string(&package.manifest_path)?.parse()?,
            });
        }
        Ok(Self {
            sources: sources.into_values().collect(),
            dependencies: packages.iter().flat_map(dependencies).collect(),
            manifests,
            documents: documents(&root)?,
            files,
            root,
        })
    }

    pub fn document(&self, path: &str) -> Option<&Document> {
        self.documents.iter().find(|d| d.path == Path::new(path))
    }
}

fn dependencies(package: &Package) -> Vec<Dependency> {
    let one = |d: &cargo_metadata::Dependency| Dependency {
        from: short(&package.name).to_owned(),
        on: d.name.clone(),
        shipped: d.kind == DependencyKind::Normal,
    };
    package.dependencies.iter().map(one).collect()
}

fn read_targets(root: &Path, package: &Package, sources: &mut BTreeMap<PathBuf, Source>) -> Result<()> {
    for target in &package.targets {
        let scope = match target.kind.first() {
            Some(TargetKind::Test | TargetKind::Bench) => Scope::Test,
            Some(TargetKind::Example) => Scope::Example,
            Some(TargetKind::CustomBuild) => Scope::Build,
            _ => Scope::Shipped,
        };
        let file = target.src_path.as_std_path();
        let children = file.parent().context("a target is in a directory")?.to_owned();
        read_module(root, short(&package.name), file, &children, scope, sources)?;
    }
    Ok(())
}

/// Reads a module's file and those of its child modules, which are looked for in `children`.
fn read_module(
    root: &Path,
    krate: &str,
    file: &Path,
    children: &Path,
    scope: Scope,
    sources: &mut BTreeMap<PathBuf, Source>,
) -> Result<()> {
    let path = file.strip_prefix(root)?.to_owned();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let source = Source::parse(krate, path.clone(), text, scope)
        .with_context(|| format!("parsing {}", path.display()))?;
    for module in child_modules(&source.all.items, children, file, scope) {
        read_module(root, krate, &module.file, &module.children, module.scope, sources)?;
    }
    sources.insert(path, source);
    Ok(())
}

struct Child {
    file: PathBuf,
    children: PathBuf,
    scope: Scope,
}

fn child_modules(items: &[Item], directory: &Path, file: &Path, scope: Scope) -> Vec<Child> {
    let mut found = Vec::new();
    for item in items {
        let Item::Mod(module) = item else { continue };
        let scope = if is_test_only(&module.attrs) { Scope::Test } else { scope };
        let inside = directory.join(module.ident.to_string());
        if let Some((_, content)) = &module.content {
            found.extend(child_modules(content, &inside, file, scope));
        } else if let Some(path) = path_attribute(module) {
            let file = file.parent().unwrap_or(directory).join(path);
            let children = file.parent().unwrap_or(directory).to_owned();
            found.push(Child { file, children, scope });
        } else {
            let flat = inside.with_extension("rs");
            let file = if flat.is_file() { flat } else { inside.join("mod.rs") };
            found.push(Child { file, children: inside, scope });
        }
    }
    found
}

fn path_attribute(module: &syn::ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

fn rust_files(root: &Path, directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(root, &path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.insert(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// Documents, manifests, protocol definitions and scripts: everything that people read beside the code.
fn documents(root: &Path) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kept = [".ci", ".cargo"].contains(&name.as_str());
            if path.is_dir() && name != "target" && (kept || !name.starts_with('.')) {
                directories.push(path);
            } else if path.is_file() && (kept || is_document(&name)) {
                let text = std::fs::read_to_string(&path)?;
                found.push(Document { path: path.strip_prefix(root)?.to_owned(), text });
            }
        }
    }
    Ok(found)
}

fn is_document(name: &str) -> bool {
    let extensions = ["md", "toml", "proto", "py", "service", "sh", "yaml", "yml"];
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    extensions.contains(&extension) || ["justfile", "run"].contains(&name)
}
