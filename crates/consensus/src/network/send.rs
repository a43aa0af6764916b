//! Sending a snapshot: rows, then the live blocks that the receiver lacks, one entry at a time.

use crate::codec::{self, Malformed};
use crate::replica::{Image, Replica};
use crate::type_config::Vote;
use futures::stream;
use quorate_storage::{GroupStorage, StorageError};
use quorate_types::GroupId;
use quorate_wire::peer::raft_client::RaftClient;
use quorate_wire::peer::{
    HeldBlock, Row, SnapshotBlock, SnapshotEnd, SnapshotFrame, SnapshotHeader, SnapshotReply, SnapshotRows,
    snapshot_frame, snapshot_reply,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Bytes of rows in one frame.
const ROWS_BYTES: usize = 1 << 20;
/// Frames that wait for the network: what a transfer holds in memory beside its rows.
const FRAMES_WAITING: usize = 2;

/// Why a snapshot was not sent. openraft tries again after a pause.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("the receiver refused: {0}")]
    Refused(#[from] Status),
    #[error("the receiver made no progress")]
    Stalled,
    #[error("the transfer took too long")]
    Deadline,
    #[error("the receiver ended the transfer early")]
    Ended,
    #[error("the receiver answered out of turn")]
    OutOfTurn,
    #[error("the receiver's answer is not understood: {0}")]
    Malformed(#[from] Malformed),
    #[error("block {index} of group {group} is gone: it was needed no more")]
    BlockGone { group: GroupId, index: u64 },
    #[error("a block cannot be read: {0}")]
    Storage(#[from] StorageError),
}

/// Sends `image` and returns the receiver's vote after it installed it.
pub(super) async fn send_snapshot(
    stub: RaftClient<Channel>,
    header: SnapshotHeader,
    image: Arc<Image>,
    replica: &Replica,
    idle: Duration,
) -> Result<Vote, SendError> {
    let transfer = transfer(stub, header, &image, replica, idle);
    match image.deadline() {
        Some(deadline) => timeout_at(deadline, transfer).await.map_err(|_| SendError::Deadline)?,
        None => transfer.await,
    }
}

async fn transfer(
    mut stub: RaftClient<Channel>,
    header: SnapshotHeader,
    image: &Image,
    replica: &Replica,
    idle: Duration,
) -> Result<Vote, SendError> {
    let begun = Instant::now();
    let (frames, queue) = mpsc::channel(FRAMES_WAITING);
    let queue =
        stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|frame| (frame, queue)) });
    let out = Out { frames, idle };
    out.send(snapshot_frame::Frame::Header(header)).await?;
    let opened = timeout(idle, stub.snapshot(queue)).await.map_err(|_| SendError::Stalled)?;
    let mut replies = opened?.into_inner();
    let held = held_blocks(&mut replies, idle).await?;
    let mut rows = 0;
    for chunk in chunks(image) {
        rows += chunk.rows.len() as u64;
        out.send(snapshot_frame::Frame::Rows(chunk)).await?;
    }
    let blocks = send_blocks(&out, image, replica, &held).await?;
    out.send(snapshot_frame::Frame::End(SnapshotEnd { rows, blocks, live: image.live.clone() })).await?;
    // Installing is one durable write of everything.
    let installed = match next(&mut replies, idle).await? {
        snapshot_reply::Reply::Installed(vote) => codec::decode_vote(vote)?,
        snapshot_reply::Reply::Held(_) => return Err(SendError::OutOfTurn),
    };
    let group = replica.group().get();
    tracing::info!(group, rows, blocks, live = image.live.len(), elapsed = ?begun.elapsed(), "snapshot sent");
    Ok(installed)
}

/// Sends the live blocks that the receiver does not hold as they are here.
async fn send_blocks(
    out: &Out,
    image: &Image,
    replica: &Replica,
    held: &BTreeMap<u64, u32>,
) -> Result<u64, SendError> {
    let storage: &GroupStorage = replica.storage();
    let ours: BTreeMap<u64, u32> = storage.held_blocks(u64::MAX).into_iter().collect();
    let mut sent = 0;
    for &index in &image.live {
        let crc = ours.get(&index);
        if crc.is_some() && crc == held.get(&index) {
            continue;
        }
        let gone = || SendError::BlockGone { group: replica.group(), index };
        let record = storage.entry_record(index).await?.ok_or_else(gone)?;
        let block = SnapshotBlock { term: record.id.term, index, data: record.bytes };
        out.send(snapshot_frame::Frame::Block(block)).await?;
        sent += 1;
    }
    Ok(sent)
}

/// The rows in frames of about [`ROWS_BYTES`].
fn chunks(image: &Image) -> impl Iterator<Item = SnapshotRows> {
    let mut rows = image.rows.iter().peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let mut chunk = SnapshotRows::default();
        let mut bytes = 0;
        while bytes < ROWS_BYTES {
            let Some(row) = rows.next() else { break };
            bytes += row.key.len() + row.value.len();
            chunk.rows.push(Row { key: row.key.clone().into(), value: row.value.clone().into() });
        }
        Some(chunk)
    })
}

async fn held_blocks(
    replies: &mut Streaming<SnapshotReply>,
    idle: Duration,
) -> Result<BTreeMap<u64, u32>, SendError> {
    let mut held = BTreeMap::new();
    loop {
        match next(replies, idle).await? {
            snapshot_reply::Reply::Held(page) => {
                held.extend(page.blocks.iter().map(|HeldBlock { index, crc }| (*index, *crc)));
                if page.last {
                    return Ok(held);
                }
            }
            snapshot_reply::Reply::Installed(_) => return Err(SendError::OutOfTurn),
        }
    }
}

async fn next(
    replies: &mut Streaming<SnapshotReply>,
    idle: Duration,
) -> Result<snapshot_reply::Reply, SendError> {
    let reply = timeout(idle, replies.message()).await.map_err(|_| SendError::Stalled)??;
    reply.and_then(|reply| reply.reply).ok_or(SendError::Ended)
}

/// The frames' way out. A full queue means that the receiver does not take them.
struct Out {
    frames: mpsc::Sender<SnapshotFrame>,
    idle: Duration,
}

impl Out {
    async fn send(&self, frame: snapshot_frame::Frame) -> Result<(), SendError> {
        let frame = SnapshotFrame { frame: Some(frame) };
        let sent = timeout(self.idle, self.frames.send(frame)).await.map_err(|_| SendError::Stalled)?;
        sent.map_err(|_| SendError::Ended)
    }
}
