//! Which seeds are done, so that ten thousand of them need not be one run.

use anyhow::{Context, Result, ensure};
use quorate_sim::Report;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is on file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Resume {
    #[serde(skip)]
    path: Option<PathBuf>,
    bug: Option<String>,
    /// Done, as ranges: first → last.
    done: BTreeMap<u64, u64>,
    failed: BTreeSet<u64>,
}

impl Resume {
    /// Reads the file, or begins one.
    pub(crate) fn open(path: &Path, bug: Option<&str>) -> Result<Self> {
        let mut resume = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes)
                .with_context(|| format!("{} is not a file of --resume", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self { bug: bug.map(str::to_owned), ..Self::default() }
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        ensure!(resume.bug.as_deref() == bug, "{} is of a run with another planted bug", path.display());
        resume.path = Some(path.to_owned());
        Ok(resume)
    }

    /// Whether a seed is done.
    pub(crate) fn has(&self, seed: u64) -> bool {
        self.done.range(..=seed).next_back().is_some_and(|(_, last)| *last >= seed)
    }

    /// How many of these are left.
    pub(crate) fn left(&self, from: u64, to: u64) -> u64 {
        let within = |(first, last): (&u64, &u64)| ((*last).min(to) + 1).saturating_sub((*first).max(from));
        (to - from + 1).saturating_sub(self.done.iter().map(within).sum())
    }

    /// Notes a seed as done.
    pub(crate) fn note(&mut self, report: &Report) -> Result<()> {
        self.insert(report.seed);
        if report.violation.is_some() {
            self.failed.insert(report.seed);
        }
        let Some(path) = &self.path else { return Ok(()) };
        let new = path.with_extension("tmp");
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&new, path)?;
        Ok(())
    }

    fn insert(&mut self, seed: u64) {
        let (mut first, mut last) = (seed, seed);
        if let Some((before, end)) = self.done.range(..seed).next_back().map(|(f, l)| (*f, *l))
            && end + 1 == seed
        {
            first = before;
        }
        if let Some(end) = self.done.remove(&(seed + 1)) {
            last = end;
        }
        self.done.insert(first, last);
    }

    /// In a sentence.
    pub(crate) fn summary(&self) -> String {
        let count: u64 = self.done.iter().map(|(first, last)| last - first + 1).sum();
        let ranges: Vec<String> = self.done.iter().map(|(first, last)| format!("{first}..{last}")).collect();
        let failed: Vec<String> = self.failed.iter().map(ToString::to_string).collect();
        let failed = if failed.is_empty() {
            "none failed".to_owned()
        } else {
            format!("failed: {}", failed.join(", "))
        };
        format!("{count} seeds are done ({}), {failed}", ranges.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut resume = Resume::default();
        for seed in [3, 1, 2, 7, 6] {
            assert!(!resume.has(seed));
            resume.insert(seed);
            assert!(resume.has(seed));
        }
        assert_eq!(resume.done, BTreeMap::from([(1, 3), (6, 7)]));
        assert!(!resume.has(4) && !resume.has(8));
        assert_eq!(resume.left(1, 10), 5);
        assert_eq!(resume.left(2, 6), 2);
    }
}
