//! A disk that is full soon.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system in memory, mounted over a directory until this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Of so many MiB.
    pub fn mount(directory: &Path, mib: u32) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let size = format!("size={mib}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "quorate-e2e"]).arg(directory))?;
        Ok(Self(directory.to_owned()))
    }

    fn filling(&self) -> PathBuf {
        self.0.join("filling")
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut filling = File::create(self.filling())?;
        // Smaller and smaller pieces: the last one is a byte.
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![b'x'; size];
            loop {
                match filling.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub fn empty(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filling())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while somebody has files open: it goes with the last of them.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("running mount")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
