//! The power of a real file system is cut twenty times in the middle of publishes and checkpoints: an ext4 image
//! on a loop device is shut down without flushing its journal, mounted again, and asked for everything that was
//! confirmed.
//!
//! Needs root, loop devices and mkfs.ext4; where it cannot run it says so in one line and passes.
//! `cargo test -p quorate-storage --test power_cut -- --cuts 200` cuts more often.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what it expects by failing"
)]

mod support;

use quorate_storage::{Checkpoint, OsDisk, Row, SledStore, Storage, StorageOptions};
use quorate_types::GroupId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use support::{Dice, block, body, id};

const GROUPS: u64 = 3;
const CUTS: u64 = 20;
/// Rows of a checkpoint of the last group: too many for the store to write them at once.
const ROWS_MANY: u64 = 40_000;
const ROWS_FEW: u64 = 40;
const IMAGE_BYTES: u64 = 512 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", directory, seed] => run(write(directory.into(), seed.parse().unwrap_or(0))),
        ["verify", directory] => run(verify(directory.into())),
        ["--list", ..] => {}
        ["--cuts", cuts] => cut(cuts.parse().unwrap_or(CUTS)),
        _ => cut(CUTS),
    }
    ExitCode::SUCCESS
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work);
}

async fn open(directory: &Path) -> Storage {
    let disk = std::sync::Arc::new(OsDisk::open(directory).unwrap());
    let options =
        StorageOptions { segment_bytes: 4 << 20, window_bytes: 1 << 20, ..StorageOptions::default() };
    Storage::open(disk, SledStore::at(directory.join("store")), options).await.unwrap()
}

/// Publishes and checkpoints until it is killed, and says on standard output what was confirmed.
async fn write(directory: PathBuf, seed: u64) {
    let storage = open(&directory).await;
    let tasks = (0..GROUPS).map(|number| tokio::spawn(write_group(storage.clone(), number, seed)));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

fn rows_of(group: u64) -> u64 {
    if group + 1 == GROUPS { ROWS_MANY } else { ROWS_FEW }
}

async fn write_group(storage: Storage, number: u64, seed: u64) {
    let group = storage.group(GroupId::new(number));
    let mut dice = Dice::new(seed * GROUPS + number);
    let mut dropped_to = group.recovered().await.unwrap().applied.map_or(0, |applied| applied.index);
    loop {
        let first = group.last().map_or(0, |last| last.index + 1);
        let records: Vec<_> =
            (0..=dice.below(20)).map(|n| block(1, first + n, 100 + dice.len(3000))).collect();
        let last = first + records.len() as u64 - 1;
        let said = move |result: std::io::Result<()>| {
            if result.is_ok() {
                println!("log {number} {last}");
            }
        };
        let Ok(()) = group.append(records, Box::new(said)) else { return };
        if dice.below(6) == 0 {
            let bytes = if rows_of(number) == ROWS_MANY { 20 } else { 2_000 };
            let rows = (0..rows_of(number)).map(|n| {
                let value = [last.to_le_bytes().to_vec(), vec![7; dice.len(bytes)]].concat();
                (n.to_le_bytes().to_vec(), Some(value))
            });
            let rows: Vec<_> = rows.collect();
            // Every hundredth block is never settled.
            let dropped = (dropped_to..last).filter(|index| index % 100 != 0).collect();
            let applied = id(1, last);
            let Ok(()) = group.checkpoint(Checkpoint { applied, meta: vec![1], rows, dropped }).await else {
                return;
            };
            println!("rows {number} {last}");
            dropped_to = last;
        }
        if dice.below(40) == 0 {
            let Ok(recovered) = group.recovered().await else { return };
            let Some(applied) = recovered.applied else { continue };
            let Ok(()) = group.write_snapshot(vec![1], applied, recovered.rows).await else { return };
            let Ok(()) = group.purge(applied).await else { return };
        }
        tokio::task::yield_now().await;
    }
}

/// Compares what is there with what was confirmed, which comes on standard input.
async fn verify(directory: PathBuf) {
    let mut confirmed: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        if let (Some(what), Some(Ok(group)), Some(Ok(index)), None) = (
            words.next(),
            words.next().map(str::parse::<u64>),
            words.next().map(str::parse::<u64>),
            words.next(),
        ) {
            let newest = confirmed.entry((what.to_owned(), group)).or_default();
            *newest = index.max(*newest);
        }
    }
    let storage = open(&directory).await;
    for number in 0..GROUPS {
        let group = storage.group(GroupId::new(number));
        let log = confirmed.get(&("log".to_owned(), number)).copied();
        let last = group.last().map(|last| last.index);
        assert!(last >= log, "group {number}: {log:?} was confirmed, the log ends at {last:?}");
        let from = group.purged().map_or(0, |purged| purged.index + 1);
        let mut next = from;
        while last.is_some_and(|last| next <= last) {
            for record in group.read(next, u64::MAX, 4 << 20).await.unwrap() {
                assert_eq!(record.id, id(1, next));
                assert_eq!(record.bytes, body(1, next, record.bytes.len()), "group {number} entry {next}");
                next += 1;
            }
        }
        let recovered = group.recovered().await.unwrap();
        let applied = recovered.applied.map(|applied| applied.index);
        let rows = confirmed.get(&("rows".to_owned(), number)).copied();
        assert!(
            applied >= rows,
            "group {number}: checkpoint {rows:?} was confirmed, the store is at {applied:?}"
        );
        let whole = |row: &Row| row.value.starts_with(&applied.unwrap_or(0).to_le_bytes());
        assert_eq!(recovered.rows.len() as u64, if applied.is_some() { rows_of(number) } else { 0 });
        assert!(recovered.rows.iter().all(whole), "group {number}: a checkpoint is there in part");
        for index in (0..from).step_by(100) {
            let found = group
                .entry(index)
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("group {number}: block {index} is lost"));
            assert_eq!(found, body(1, index, found.len()), "group {number} block {index}");
        }
    }
    storage.close().await;
}

/// The mounted image. Unmounts on drop, so that a failed test leaves nothing behind.
struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    fn create() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = Self { directory };
        let file = File::create(image.file()).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        std::fs::create_dir(image.mount_point()).map_err(|error| error.to_string())?;
        command("mkfs.ext4", &["-q", "-F", &image.file().to_string_lossy()])?;
        image.mount()?;
        Ok(image)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn data(&self) -> PathBuf {
        self.mount_point().join("data")
    }

    fn mount(&self) -> Result<(), String> {
        command(
            "mount",
            &["-o", "loop", &self.file().to_string_lossy(), &self.mount_point().to_string_lossy()],
        )
    }

    fn unmount(&self) -> Result<(), String> {
        command("umount", &[&self.mount_point().to_string_lossy()])
    }

    /// What a power cut does to a file system: nothing more reaches the disk, the journal in memory neither.
    fn cut_power(&self) -> std::io::Result<()> {
        /// `EXT4_IOC_SHUTDOWN` (include/uapi/linux/ext4.h).
        const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        /// `EXT4_GOING_FLAGS_NOLOGFLUSH`.
        const WITHOUT_FLUSHING: u32 = 2;
        let root = File::open(self.mount_point())?;
        #[allow(
            unsafe_code,
            reason = "no safe wrapper of this ioctl exists; it reads one u32 through the pointer"
        )]
        // SAFETY: the opcode takes a pointer to a u32, which `Setter` passes and which lives for the call.
        unsafe {
            rustix::ioctl::ioctl(&root, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSHING))?;
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Not mounted is as good.
        drop(self.unmount());
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
}

fn cut(cuts: u64) {
    let image = match Image::create() {
        Ok(image) => image,
        Err(reason) => return println!("skipped: no ext4 image can be mounted here ({reason})"),
    };
    let mut claims: Vec<String> = Vec::new();
    let mut dice = Dice::new(1);
    for round in 0..cuts {
        // From the growth of a fresh directory on, to segments in reuse.
        let lines = 10 + dice.below(if round % 2 == 0 { 100 } else { 1500 });
        let pause = Duration::from_millis(dice.below(1_000));
        if let Err(error) = write_and_cut(&image, round, lines, pause, &mut claims) {
            assert!(round == 0, "round {round}: {error}");
            return println!("skipped: the file system cannot be shut down here ({error})");
        }
        image.unmount().unwrap();
        image.mount().unwrap();
        check(&image, round, &claims);
    }
    println!("{cuts} power cuts, {} confirms, nothing confirmed is missing", claims.len());
}

#[expect(clippy::disallowed_methods, reason = "power is cut at any time, not when something is so")]
fn write_and_cut(
    image: &Image,
    round: u64,
    lines: u64,
    pause: Duration,
    claims: &mut Vec<String>,
) -> std::io::Result<()> {
    let mut writer = Command::new(std::env::current_exe()?)
        .args(["write", &image.data().to_string_lossy(), &round.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut left = lines;
    let mut result = Ok(());
    for line in said {
        // What it says after the cut counts as well: it was synced before.
        claims.extend(line);
        left = left.saturating_sub(1);
        if left == 0 && result.is_ok() {
            left = u64::MAX;
            // While many rows are written nothing may be said for long.
            std::thread::sleep(pause);
            result = image.cut_power();
            writer.kill()?;
        }
    }
    let _killed = writer.wait()?;
    assert!(left > lines, "round {round}: the writer ended by itself");
    result
}

fn check(image: &Image, round: u64, claims: &[String]) {
    let mut verifier = Command::new(std::env::current_exe().unwrap())
        .args(["verify", &image.data().to_string_lossy()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    verifier.stdin.take().unwrap().write_all(claims.join("\n").as_bytes()).unwrap();
    assert!(verifier.wait().unwrap().success(), "round {round}: something confirmed is missing");
}
