//! What processes use, from `/proc`.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Add, Sub};
use std::path::Path;

/// `/proc/PID/stat` counts in these, on every Linux since 2.6 (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and its children used since they were started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// In user and kernel mode.
    pub cpu_seconds: f64,
    /// Resident now.
    pub memory_bytes: f64,
    /// Handed to the storage layer.
    pub written_bytes: f64,
    /// Handed to the kernel by `write` and its kin, to files and sockets alike.
    pub output_bytes: f64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
            output_bytes: self.output_bytes + other.output_bytes,
        }
    }
}

/// What was used since `earlier`. Memory is that of now: it is a level, not a sum.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            memory_bytes: self.memory_bytes,
            written_bytes: self.written_bytes - earlier.written_bytes,
            output_bytes: self.output_bytes - earlier.output_bytes,
        }
    }
}

/// What a process and all that descend from it use.
///
/// # Errors
/// When `/proc` has no such process, or is not in the form of Linux.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let parents = parents()?;
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        next += 1;
    }
    let mut sum = of_one(pid)?;
    for child in all.into_iter().skip(1) {
        // One that has just ended counts as nothing.
        sum = sum + of_one(child).unwrap_or_default();
    }
    Ok(sum)
}

fn parents() -> io::Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = read(pid, "stat") else { continue };
        if let Some(parent) = fields(&stat).and_then(|mut fields| fields.nth(1)?.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

fn of_one(pid: u32) -> io::Result<Usage> {
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid} is not as on Linux"));
    // What another user's process wrote is told to root only.
    let io = read(pid, "io").unwrap_or_default();
    parse(&read(pid, "stat")?, &read(pid, "status")?, &io).ok_or_else(foreign)
}

fn read(pid: u32, name: &str) -> io::Result<String> {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name))
}

/// What follows the program's name, which may hold blanks and brackets: state, parent, …
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

fn parse(stat: &str, status: &str, io: &str) -> Option<Usage> {
    // utime and stime.
    let mut ticks = fields(stat)?.skip(11);
    let mut ticks = || ticks.next()?.parse::<f64>().ok();
    let cpu_seconds = (ticks()? + ticks()?) / TICKS_PER_SECOND;
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    // A process that is ending has no memory left.
    let memory_bytes = number(status, "VmRSS:").unwrap_or(0.0) * 1024.0;
    let written_bytes = number(io, "write_bytes:").unwrap_or(0.0);
    let output_bytes = number(io, "wchar:").unwrap_or(0.0);
    Some(Usage { cpu_seconds, memory_bytes, written_bytes, output_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_also_when_the_name_has_blanks() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        let status = "Name:\tx\nVmRSS:\t    2000 kB\n";
        let io = "rchar: 1\nwchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        let usage =
            Usage { cpu_seconds: 3.0, memory_bytes: 2_048_000.0, written_bytes: 4096.0, output_bytes: 9.0 };
        assert_eq!(parse(stat, status, io), Some(usage));
        assert_eq!(parse("nonsense", status, io), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).unwrap().memory_bytes > 0.0);
    }
}
