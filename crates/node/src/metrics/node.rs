//! The node itself: who it is, its memory, its disk and its log.

use super::page::{Label, Page};
use crate::figures::Figures;
use quorate_storage::{SYNC_BUCKETS_US, StorageStats};
use std::fmt;

pub(super) fn write(page: &mut Page<'_>, of: &Figures) -> fmt::Result {
    let build: [Label<'_>; 2] = [
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("machine_version", of.machine_version.to_string().into()),
    ];
    page.gauges("quorate_build_info", "The program: always 1", [(build, 1_u64)])?;
    let node: [Label<'_>; 2] =
        [("cluster", of.cluster.as_str().into()), ("node", of.node.to_string().into())];
    page.gauges("quorate_node_info", "Which node of which cluster this is: always 1", [(node, 1_u64)])?;
    page.gauge(
        "quorate_ready",
        "Whether this node serves as a voter of all its groups",
        u64::from(of.ready),
    )?;
    let help = "When the node started to serve, in seconds since 1970";
    page.gauge("quorate_start_timestamp_seconds", help, of.started_at)?;
    page.gauge("quorate_memory_used_bytes", "Resident memory of the process", of.memory.used_bytes)?;
    let help = "Memory that the process may have: of its control group, or of the machine";
    page.gauge("quorate_memory_limit_bytes", help, of.memory.limit_bytes)?;
    page.gauge("quorate_disk_free_bytes", "Free bytes on the data disk", of.free_bytes)?;
    let help = "1 while this node has too little free disk for new messages";
    page.gauge("quorate_disk_low", help, u64::from(of.short.disk))?;
    let help = "1 while this node uses too much memory for new messages";
    page.gauge("quorate_memory_high", help, u64::from(of.short.memory))?;
    let help = "Bytes of operations that came through this node and wait for their groups' answers";
    page.gauge("quorate_unanswered_bytes", help, of.unanswered_bytes)?;
    let help = "How many bytes may wait so; beyond that publishes are refused as OVERLOADED";
    page.gauge("quorate_unanswered_bytes_max", help, of.unanswered_bytes_max)?;
    log(page, &of.storage)
}

fn log(page: &mut Page<'_>, stats: &StorageStats) -> fmt::Result {
    page.gauge("quorate_log_bytes", "Bytes of log segments in use", stats.log_bytes)?;
    page.gauge("quorate_log_live_bytes", "Bytes of the log that somebody still needs", stats.live_bytes)?;
    page.gauge("quorate_log_segments", "Log segments in use", stats.segments)?;
    page.gauge("quorate_log_spare_segments", "Emptied segments kept for reuse", stats.spare_segments)?;
    page.gauge("quorate_log_window_bytes", "Bytes of recent entries in memory", stats.window_bytes)?;
    page.gauge("quorate_log_queued_bytes", "Bytes that wait to be written to the log", stats.queued_bytes)?;
    page.counter("quorate_log_written_bytes", "Bytes written to the log", stats.written_bytes)?;
    let help = "Of these, bytes carried from an old segment";
    page.counter("quorate_log_carried_bytes", help, stats.carried_bytes)?;
    page.counter("quorate_log_retired_segments", "Log segments given back", stats.retired_segments)?;
    let bounds = SYNC_BUCKETS_US.iter().map(|us| seconds(*us)).chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(stats.sync_buckets).collect();
    let help = "Group commits: one write and one fsync each";
    page.histogram("quorate_fsync_seconds", help, seconds(stats.sync_us), &buckets)
}

fn seconds(us: u64) -> f64 {
    // Below 2^52 microseconds, 142 years: exact.
    us as f64 / 1e6
}
