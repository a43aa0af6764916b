//! One append stream to a follower.

use super::client::{RpcError, garbled, refused, too_late, unreachable};
use crate::codec::{self, AppendRequest, AppendResponse};
use crate::replica::Replica;
use crate::type_config::log_id;
use futures::{Stream, StreamExt, stream};
use openraft::AnyError;
use openraft::error::RPCError;
use quorate_types::probe;
use quorate_wire::peer::Frame;
use quorate_wire::{InParts, PEER_BYTES_MAX, parted};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Requests between openraft and the connection: one that is being written and one behind it.
const FRAMES_MAX: usize = 2;

/// The method of `quorate.peer.v1.Raft`.
const STREAM_APPEND: &str = "/quorate.peer.v1.Raft/StreamAppend";

/// Word that entries are committed travels with the next entries, if there are some within this time and nobody waits for it: of a
/// publisher that waits for each confirm, every second request and answer is saved. Beyond what a confirm takes.
const COMMIT_HELD: Duration = Duration::from_millis(2);

/// Where an append stream goes.
pub(super) struct Way {
    pub(super) channel: Channel,
    /// What each request is in, without data: the link and the group.
    pub(super) frame: Frame,
    pub(super) replica: Arc<Replica>,
    /// How long a request may be unanswered. The stream lives as long as the leadership and may be silent for long, but not
    /// while a request is unanswered: openraft does not watch over that, and a lost answer would stop replication for ever.
    pub(super) patience: Duration,
}

/// A stream that is open: takes requests and gives answers.
///
/// Requests are taken by whoever waits for the answers, and by nobody else. openraft (0.10.0-alpha.37) lets its streams to one
/// peer, the one that it has given up and the one that follows, draw from one state; were the requests in the hands of the
/// connection, which learns of the end of a stream later than openraft, the old one would take what is meant for the new
/// one and lose it.
pub(super) struct Appending<S> {
    way: Way,
    input: S,
    /// `None` when there is nothing more to send.
    frames: Option<mpsc::Sender<InParts<Frame>>>,
    answers: Streaming<Frame>,
    unanswered: u64,
    /// When the oldest unanswered request will have been that for too long.
    deadline: Instant,
    /// Index of the last entry in the leader's log.
    appended: watch::Receiver<u64>,
    /// Index of the last entry that was sent, and until when the next request is not asked for unless it has others.
    held: Option<(u64, Instant)>,
}

impl<S: Stream<Item = AppendRequest> + Send + Unpin + 'static> Appending<S> {
    /// Opens a stream with its first request.
    pub(super) async fn open(mut way: Way, first: AppendRequest, input: S) -> Result<Self, RpcError> {
        if leads_nowhere(&first, &way.replica) {
            return Err(obsolete());
        }
        let (frames, queue) = mpsc::channel(FRAMES_MAX);
        // There is room.
        let _ = frames.try_send(way.frame(&first));
        let queue = ReceiverStream::new(queue);
        let open = parted::stream(&mut way.channel, STREAM_APPEND, queue, PEER_BYTES_MAX);
        let answers = match timeout(way.patience, open).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(status)) => return Err(refused(status)),
            Err(_) => return Err(too_late("opening an append stream")),
        };
        let deadline = Instant::now() + way.patience;
        let appended = way.replica.appended();
        let held = None;
        Ok(Self { way, input, frames: Some(frames), answers, unanswered: 1, deadline, appended, held })
    }

    /// The answers, until the stream breaks or both sides are done.
    pub(super) fn answers(self) -> impl Stream<Item = Result<AppendResponse, RpcError>> + Send {
        stream::unfold(Some(self), |open| async move {
            let mut open = open?;
            let answer = open.next().await?;
            // openraft looks at nothing behind an error.
            let open = answer.is_ok().then_some(open);
            Some((answer, open))
        })
    }

    async fn next(&mut self) -> Option<Result<AppendResponse, RpcError>> {
        let hasty = probe::planted("confirm before commit");
        loop {
            let (frames, input) = (self.frames.clone(), &mut self.input);
            let (held, appended) =
                (self.held.filter(|_| self.way.replica.is_unhurried()), &mut self.appended);
            let request = async move {
                released(held, appended).await;
                let room = frames?.reserve_owned().await.ok()?;
                Some((room, input.next().await?))
            };
            tokio::select! {
                biased;
                answer = self.answers.message() => {
                    let answer = match answer {
                        Ok(Some(frame)) => codec::decode_append_response(frame.data).map_err(garbled),
                        Ok(None) => return None,
                        Err(status) => Err(refused(status)),
                    };
                    self.unanswered = self.unanswered.saturating_sub(1);
                    self.deadline = Instant::now() + self.way.patience;
                    if !hasty || answer.is_err() {
                        return Some(answer);
                    }
                }
                () = sleep_until(self.deadline), if self.unanswered > 0 => return Some(Err(too_late("an append"))),
                request = request, if self.frames.is_some() => {
                    let Some((room, request)) = request else {
                        self.frames = None;
                        continue;
                    };
                    if leads_nowhere(&request, &self.way.replica) {
                        return Some(Err(obsolete()));
                    }
                    room.send(self.way.frame(&request));
                    if let Some(last) = request.entries.last() {
                        self.held = Some((log_id(&last.log_id).index, Instant::now() + COMMIT_HELD));
                    }
                    if self.unanswered == 0 {
                        self.deadline = Instant::now() + self.way.patience;
                    }
                    self.unanswered += 1;
                    if hasty {
                        return Some(Ok(Ok(request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id))));
                    }
                }
            }
        }
    }
}

/// Resolves when there are entries behind the last that was sent, or when they have been waited for.
async fn released(held: Option<(u64, Instant)>, appended: &mut watch::Receiver<u64>) {
    let Some((sent, until)) = held else { return };
    // The replica, which says so, lives as long as the stream.
    drop(timeout_at(until, appended.wait_for(|last| *last > sent)).await);
}

impl Way {
    fn frame(&self, request: &AppendRequest) -> InParts<Frame> {
        self.frame.clone().with_data(codec::encode_append(request).into())
    }
}

fn obsolete() -> RpcError {
    probe::sometimes("replication that leads nowhere ended");
    let text = "what was to be sent is purged: the peer needs something newer";
    RPCError::Unreachable(unreachable(&AnyError::error(text)))
}

/// Whether a request can make no progress: it carries nothing, for what would follow is purged.
///
/// openraft (0.10.0-alpha.37) lets go of what it replicates to a peer when it hears of any error, also one of an earlier
/// attempt; the log may then be purged under the stream that goes on, which from there reads nothing and says so for ever,
/// without looking at what it is told to do instead. An error makes it look.
fn leads_nowhere(request: &AppendRequest, replica: &Replica) -> bool {
    let purged = replica.storage().purged().map_or(0, |id| id.index + 1);
    let next = request.prev_log_id.as_ref().map_or(0, |id| log_id(id).index + 1);
    request.entries.is_empty() && next < purged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn word_of_what_is_committed_waits_for_entries_and_not_for_ever() {
        let (log, mut appended) = watch::channel(7);
        let begun = Instant::now();
        released(None, &mut appended).await;
        released(Some((6, begun + COMMIT_HELD)), &mut appended).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "nothing is held, or there is more to send");
        let held = released(Some((7, begun + COMMIT_HELD)), &mut appended);
        let more = async {
            tokio::time::sleep(COMMIT_HELD / 2).await;
            log.send_replace(8);
        };
        tokio::join!(held, more);
        assert_eq!(begun.elapsed(), COMMIT_HELD / 2, "until there are entries");
        released(Some((8, begun + COMMIT_HELD)), &mut appended).await;
        assert_eq!(begun.elapsed(), COMMIT_HELD, "until nothing came");
        released(Some((8, begun + COMMIT_HELD)), &mut appended).await;
        assert_eq!(begun.elapsed(), COMMIT_HELD, "and no longer");
    }
}
