//! Receiving a snapshot: blocks go to storage as they come, rows are kept until the end, then openraft installs both.

use crate::codec::{self, Malformed};
use crate::replica::{Image, Replica};
use crate::type_config::{Raft, SnapshotMeta, Vote};
use futures::Stream;
use quorate_storage::{Row, StorageError};
use quorate_types::LogId;
use quorate_wire::peer::{
    HeldBlock, HeldBlocks, SnapshotEnd, SnapshotFrame, SnapshotHeader, SnapshotReply, snapshot_frame,
    snapshot_reply,
};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// Blocks in one page of what is held: about 1 MiB.
const HELD_PAGE: usize = 64 << 10;

/// Why a snapshot was not taken.
#[derive(Debug, Error)]
pub(super) enum ReceiveError {
    #[error("the snapshot's header is not understood: {0}")]
    Malformed(#[from] Malformed),
    #[error("the sender made no progress")]
    Stalled,
    #[error("the sender broke off")]
    Ended,
    #[error("the snapshot came incomplete: {0}")]
    Incomplete(&'static str),
    #[error("a block cannot be stored: {0}")]
    Storage(#[from] StorageError),
    #[error("the replica is stopping")]
    Stopped,
    #[error("the stream failed: {0}")]
    Stream(#[from] Status),
}

impl From<ReceiveError> for Status {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Stream(status) => status,
            ReceiveError::Malformed(_) | ReceiveError::Incomplete(_) => {
                Self::invalid_argument(error.to_string())
            }
            ReceiveError::Stalled
            | ReceiveError::Ended
            | ReceiveError::Storage(_)
            | ReceiveError::Stopped => Self::unavailable(error.to_string()),
        }
    }
}

type Replies = mpsc::Sender<Result<SnapshotReply, Status>>;

/// Takes one snapshot and sends what the sender must know to `replies`.
pub(super) async fn receive_snapshot(
    raft: Raft,
    replica: Arc<Replica>,
    header: SnapshotHeader,
    frames: Streaming<SnapshotFrame>,
    replies: Replies,
    idle: Duration,
) {
    let taken = take(&raft, &replica, header, frames, &replies, idle).await;
    let last = match taken {
        Ok(vote) => Ok(reply(snapshot_reply::Reply::Installed(codec::encode_vote(&vote).into()))),
        Err(error) => {
            tracing::warn!(group = replica.group().get(), %error, "snapshot not taken");
            Err(error.into())
        }
    };
    // A sender that has gone needs no answer.
    drop(replies.send(last).await);
}

fn reply(reply: snapshot_reply::Reply) -> SnapshotReply {
    SnapshotReply { reply: Some(reply) }
}

async fn take(
    raft: &Raft,
    replica: &Arc<Replica>,
    header: SnapshotHeader,
    mut frames: impl Stream<Item = Result<SnapshotFrame, Status>> + Unpin,
    replies: &Replies,
    idle: Duration,
) -> Result<Vote, ReceiveError> {
    let vote = codec::decode_vote(header.vote)?;
    let meta = codec::decode_snapshot_meta(header.meta)?;
    // What is named as held here must still be here when the snapshot is installed.
    let _held = replica.hold_drops();
    tell_held(replica, replies).await?;
    let mut rows = Vec::new();
    let mut blocks = 0;
    let end = loop {
        let frame = timeout(idle, next(&mut frames)).await.map_err(|_| ReceiveError::Stalled)??;
        match frame {
            snapshot_frame::Frame::Rows(chunk) => {
                rows.extend(
                    chunk.rows.into_iter().map(|row| Row { key: row.key.into(), value: row.value.into() }),
                );
            }
            snapshot_frame::Frame::Block(block) => {
                let id = LogId { term: block.term, index: block.index };
                replica.storage().put_block(id, block.data).await?;
                blocks += 1;
            }
            snapshot_frame::Frame::End(end) => break end,
            snapshot_frame::Frame::Header(_) => return Err(ReceiveError::Incomplete("a second header")),
        }
    };
    complete(replica, &end, rows.len() as u64, blocks)?;
    install(raft, vote, meta, Arc::new(Image::received(rows, end.live))).await
}

/// Whether everything that the sender counted is here.
fn complete(replica: &Replica, end: &SnapshotEnd, rows: u64, blocks: u64) -> Result<(), ReceiveError> {
    if end.rows != rows {
        return Err(ReceiveError::Incomplete("rows are missing"));
    }
    if end.blocks != blocks {
        return Err(ReceiveError::Incomplete("blocks are missing"));
    }
    let held: BTreeSet<u64> =
        replica.storage().held_blocks(u64::MAX).into_iter().map(|(index, _)| index).collect();
    if end.live.iter().any(|index| !held.contains(index)) {
        return Err(ReceiveError::Incomplete("a block that was held is gone"));
    }
    Ok(())
}

async fn install(
    raft: &Raft,
    vote: Vote,
    meta: SnapshotMeta,
    image: Arc<Image>,
) -> Result<Vote, ReceiveError> {
    let snapshot = openraft::Snapshot { meta, snapshot: image };
    let answer = raft.install_full_snapshot(vote, snapshot).await.map_err(|_| ReceiveError::Stopped)?;
    Ok(answer.vote)
}

async fn tell_held(replica: &Replica, replies: &Replies) -> Result<(), ReceiveError> {
    let held = replica.firm_blocks();
    let mut pages = held.chunks(HELD_PAGE).peekable();
    loop {
        let page = pages.next().unwrap_or_default();
        let blocks = page.iter().map(|(index, crc)| HeldBlock { index: *index, crc: *crc }).collect();
        let last = pages.peek().is_none();
        let held = reply(snapshot_reply::Reply::Held(HeldBlocks { blocks, last }));
        replies.send(Ok(held)).await.map_err(|_| ReceiveError::Ended)?;
        if last {
            return Ok(());
        }
    }
}

async fn next(
    frames: &mut (impl Stream<Item = Result<SnapshotFrame, Status>> + Unpin),
) -> Result<snapshot_frame::Frame, ReceiveError> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *frames).poll_next(cx)).await;
    frame.transpose()?.and_then(|frame| frame.frame).ok_or(ReceiveError::Ended)
}
