//! A process of the floor. Threads and blocking calls: nothing is less.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The file is written round and round: what is measured is writing, not a disk that fills up. Written with zeros first,
/// because overwriting is what a log that recycles its files does.
pub const FLOOR_FILE_BYTES: u64 = 256 << 20;
/// Taken from a connection at a time.
const READ_BYTES: usize = 1 << 20;
/// What one write may hold.
const WRITE_BYTES_MAX: usize = 8 << 20;
/// A chunk between the processes and a frame of a client both begin with their length.
const LEN_BYTES: usize = 4;

/// What a process of the floor is told.
#[derive(Clone, Debug)]
pub struct FloorNode {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The two others, for the one that takes the frames; empty for those.
    pub followers: Vec<SocketAddr>,
    /// Its file.
    pub file: PathBuf,
    /// Whether nothing is overwritten and the file grows: then it is not written with zeros first.
    pub keep: bool,
}

/// Serves for ever.
///
/// # Errors
/// When the file or the network refuses.
pub fn serve(node: &FloorNode) -> io::Result<()> {
    let log = Log::create(node)?;
    let listener = TcpListener::bind(node.listen)?;
    if node.followers.is_empty() {
        return follow(&listener, log);
    }
    lead(&listener, &node.followers, log)
}

struct Log {
    file: File,
    end: u64,
    /// Where it begins anew.
    round: u64,
}

impl Log {
    fn create(node: &FloorNode) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).read(true).open(&node.file)?;
        if node.keep {
            return Ok(Self { file, end: 0, round: u64::MAX });
        }
        let zeros = vec![0; READ_BYTES];
        for offset in (0..FLOOR_FILE_BYTES).step_by(READ_BYTES) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self { file, end: 0, round: FLOOR_FILE_BYTES })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.end + bytes.len() as u64 > self.round {
            self.end = 0;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.file.sync_data()
    }
}

/// Appends each chunk and says how many there were.
fn follow(listener: &TcpListener, mut log: Log) -> io::Result<()> {
    let (leader, _) = listener.accept()?;
    leader.set_nodelay(true)?;
    let (mut input, mut output) = (BufReader::with_capacity(READ_BYTES, leader.try_clone()?), leader);
    let (mut chunk, mut count) = (Vec::new(), 0_u64);
    loop {
        let mut len = [0; LEN_BYTES];
        input.read_exact(&mut len)?;
        chunk.resize(u32::from_le_bytes(len) as usize, 0);
        input.read_exact(&mut chunk)?;
        log.append(&chunk)?;
        count += 1;
        output.write_all(&count.to_le_bytes())?;
    }
}

/// What the connections have brought and nobody has written yet.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// Messages of each connection in them.
    messages: BTreeMap<usize, u64>,
}

/// What is written and not yet confirmed.
#[derive(Default)]
struct Progress {
    /// Chunks on this process's disk, and on each other's.
    own: u64,
    followers: Vec<u64>,
    /// What each chunk after the last confirmed one holds.
    chunks: BTreeMap<u64, BTreeMap<usize, u64>>,
    confirmed: u64,
    clients: BTreeMap<usize, (TcpStream, u64)>,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    filled: Condvar,
    progress: Mutex<Progress>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lead(listener: &TcpListener, followers: &[SocketAddr], log: Log) -> io::Result<()> {
    let shared = Arc::new(Shared::default());
    let mut links = Vec::new();
    for (at, address) in followers.iter().enumerate() {
        let link = TcpStream::connect(address)?;
        link.set_nodelay(true)?;
        lock(&shared.progress).followers.push(0);
        let (answers, shared) = (link.try_clone()?, Arc::clone(&shared));
        thread::spawn(move || hear(answers, at, &shared));
        links.push(link);
    }
    {
        let shared = Arc::clone(&shared);
        thread::spawn(move || write(log, links, &shared));
    }
    for (number, client) in listener.incoming().enumerate() {
        let client = client?;
        client.set_nodelay(true)?;
        lock(&shared.progress).clients.insert(number, (client.try_clone()?, 0));
        let shared = Arc::clone(&shared);
        thread::spawn(move || take(client, number, &shared));
    }
    Ok(())
}

/// Takes whole frames from a connection until it ends.
fn take(mut client: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    let (mut buffer, mut filled) = (vec![0; READ_BYTES], 0);
    loop {
        let read = client.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            lock(&shared.progress).clients.remove(&number);
            return Ok(());
        }
        filled += read;
        let (mut whole, mut messages) = (0, 0);
        while let Some((len, _)) = buffer.get(whole..filled).and_then(|rest| rest.split_first_chunk()) {
            let end = whole + LEN_BYTES + u32::from_le_bytes(*len) as usize;
            if end > filled {
                break;
            }
            (whole, messages) = (end, messages + 1);
        }
        if messages == 0 {
            continue;
        }
        let mut inbox = lock(&shared.inbox);
        inbox.bytes.extend_from_slice(buffer.get(..whole).unwrap_or_default());
        *inbox.messages.entry(number).or_default() += messages;
        drop(inbox);
        shared.filled.notify_one();
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Everything that has come, one write and one sync; then what has come meanwhile.
fn write(mut log: Log, mut links: Vec<TcpStream>, shared: &Shared) -> io::Result<()> {
    for number in 1.. {
        let chunk = {
            let waiting = lock(&shared.inbox);
            let mut inbox = shared
                .filled
                .wait_while(waiting, |inbox| inbox.bytes.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *inbox)
        };
        lock(&shared.progress).chunks.insert(number, chunk.messages);
        for link in &mut links {
            link.write_all(&u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX).to_le_bytes())?;
            link.write_all(&chunk.bytes)?;
        }
        for part in chunk.bytes.chunks(WRITE_BYTES_MAX) {
            log.append(part)?;
        }
        let mut progress = lock(&shared.progress);
        progress.own = number;
        progress.confirm();
    }
    Ok(())
}

fn hear(mut answers: TcpStream, at: usize, shared: &Shared) -> io::Result<()> {
    loop {
        let mut count = [0; 8];
        answers.read_exact(&mut count)?;
        let mut progress = lock(&shared.progress);
        if let Some(known) = progress.followers.get_mut(at) {
            *known = u64::from_le_bytes(count);
        }
        progress.confirm();
    }
}

impl Progress {
    /// Tells each connection how many of its messages two of the three have on disk.
    fn confirm(&mut self) {
        let safe = self.own.min(self.followers.iter().copied().max().unwrap_or(0));
        let mut told = BTreeMap::new();
        while self.confirmed < safe {
            self.confirmed += 1;
            for (client, messages) in self.chunks.remove(&self.confirmed).unwrap_or_default() {
                *told.entry(client).or_insert(0) += messages;
            }
        }
        for (number, messages) in told {
            let Some((client, count)) = self.clients.get_mut(&number) else { continue };
            *count += messages;
            // One that is gone needs no answer.
            let _ = client.write_all(&count.to_le_bytes());
        }
    }
}
