//! The memory of this process, as Linux tells it. Elsewhere nothing is known of it, and so it is never too much.

use quorate_types::{Memory, MemoryUse};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the control groups' files are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Reads `/proc` and the control group.
#[derive(Debug, Default)]
pub(super) struct SystemMemory {
    /// What the machine has does not change while the process runs; the limit of a control group may.
    machine_bytes: OnceLock<u64>,
}

impl Memory for SystemMemory {
    fn read(&self) -> MemoryUse {
        let machine = *self.machine_bytes.get_or_init(|| of_line("/proc/meminfo", "MemTotal:").unwrap_or(0));
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits =
            limit_files(&groups).into_iter().filter_map(|file| limit(&fs::read_to_string(file).ok()?));
        MemoryUse {
            used_bytes: of_line("/proc/self/status", "VmRSS:").unwrap_or(0),
            limit_bytes: limits.chain((machine > 0).then_some(machine)).min().unwrap_or(0),
        }
    }

    fn give_back(&self) {
        drop(tokio::task::spawn_blocking(trim));
    }
}

/// glibc keeps what was freed, by the hundred megabytes where many threads allocate, and has pages of it in the middle of what is used
/// given back only when it is asked (`malloc_trim(3)`).
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is asked by a function of the C library")]
fn trim() {
    // SAFETY: it takes no pointer, and any thread may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

fn of_line(file: &str, name: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string(file).ok()?, name)
}

/// The bytes of a line like `VmRSS:     1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Files that may hold a limit of this process: of its group, and of all above it, which bound it as well. In a container its
/// group is the root of what it sees.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            named if named.split(',').any(|c| c == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(own.map(|part| root.join(part).join(file)));
    }
    files
}

/// A limit in bytes; `None` when there is none. Version 1 says that with a number beyond all machines.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| (1..=1 << 60).contains(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_kilobytes_is_read_and_anything_else_is_not() {
        let status = "Name:\tquorate\nVmRSS:\t   10 kB\nVmSize: 99 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(10_240));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
        assert_eq!(kilobytes("VmRSS: many kB", "VmRSS:"), None);
    }

    #[test]
    fn the_limits_of_all_groups_above_this_one_count() {
        let files = |text: &str| -> Vec<String> {
            limit_files(text).into_iter().map(|file| file.display().to_string()).collect()
        };
        let second =
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(files("0::/a/b\n"), second);
        let first =
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(files("5:cpu,cpuacct:/x\n4:memory:/x\n"), first);
        assert_eq!(
            (limit("1073741824\n"), limit("max\n"), limit("9223372036854771712")),
            (Some(1 << 30), None, None)
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_some_memory_and_less_than_there_is() {
        let MemoryUse { used_bytes, limit_bytes } = SystemMemory::default().read();
        assert!(used_bytes > 100 << 10 && used_bytes < limit_bytes, "{used_bytes} of {limit_bytes}");
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_was_freed_below_what_is_used_goes_back_to_the_system() {
        let used = || SystemMemory::default().read().used_bytes;
        let boxes: Vec<Box<[u8]>> = (0..32_768).map(|_| vec![1; 2_048].into()).collect();
        let _used = vec![1_u8; 2_048];
        drop(boxes);
        let before = used();
        trim();
        let after = used();
        assert!(after + (32 << 20) < before, "{before} bytes before, {after} after");
    }
}
