//! The TOML file.

use super::typed::Typed;
use quorate_node::ConfigError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub(crate) enum ConfigFailure {
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The message of the parser names line, column, what is wrong and what would be right.
    #[error("the configuration file {path} is not right:\n{message}", path = path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("two peers have the id {node}: {first} and {second}")]
    PeerTwice { node: u64, first: String, second: String },
    #[error("the pod {pod:?} is none of a StatefulSet: it has no name and ordinal, as in quorate-0")]
    NotAPod { pod: String },
    #[error("the pod {pod} is node {of_pod}, but the node's id is given as {node}: give one of them")]
    PodAndNode { pod: String, of_pod: u64, node: u64 },
    #[error("{what} is {value}, more than this machine can address")]
    TooLarge { what: &'static str, value: u64 },
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

impl ConfigFailure {
    /// Stable, for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "CONFIG_UNREADABLE",
            Self::Syntax { .. }
            | Self::PeerTwice { .. }
            | Self::NotAPod { .. }
            | Self::PodAndNode { .. }
            | Self::TooLarge { .. }
            | Self::Invalid(_) => "CONFIG_INVALID",
        }
    }
}

/// Reads the file; a key that is not a setting is an error.
pub(crate) fn read(path: &Path) -> Result<Typed, ConfigFailure> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigFailure::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| ConfigFailure::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Typed, ConfigFailure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quorate.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn file_sets_what_it_names() {
        let text =
            "node = 3\npeers = [\"1=a:1\", \"3=c:1\"]\n[listen]\nhttp = \"off\"\n[log]\nformat = \"json\"\n";
        let typed = read_text(text).unwrap();
        assert_eq!(typed.node, Some(3));
        assert_eq!(typed.peers.unwrap().len(), 2);
        assert_eq!(typed.listen.http.as_deref(), Some("off"));
        assert_eq!(typed.data_dir, None);
    }

    #[test]
    fn typo_is_named_with_its_line_and_what_would_be_right() {
        let failure = read_text("node = 1\n[listen]\nclinet = \"a:1\"\n").unwrap_err();
        assert_eq!(failure.code(), "CONFIG_INVALID");
        let message = failure.to_string();
        for part in ["line 3", "clinet", "client", "quorate.toml"] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn missing_file_is_named() {
        let failure = read(Path::new("/nowhere/quorate.toml")).unwrap_err();
        assert_eq!(failure.code(), "CONFIG_UNREADABLE");
        assert!(failure.to_string().contains("/nowhere/quorate.toml"));
    }
}
