//! Messages of a topic on one shard.

use super::{ReadFrom, ReadOptions, StoredMessage, client_of, stored};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::CallError;
use crate::nodes::Route;
use quorate_types::{Kind, Reason, Refusal};
use quorate_wire::v1::read_request::From;
use quorate_wire::{leader_of, refusal_of, v1};
use std::collections::VecDeque;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

/// In order of their offsets. Goes on through another node when one fails.
pub(super) struct Part {
    client: Client,
    request: v1::ReadRequest,
    route: Route,
    backoff: Backoff,
    stream: Option<Streaming<v1::ReadResponse>>,
    buffered: VecDeque<Result<StoredMessage, Refusal>>,
    /// Messages that are still wanted; `None`: all.
    wanted: Option<u64>,
    /// When the trouble began, if there is some.
    trouble: Option<Instant>,
    ended: bool,
}

impl Part {
    /// Nothing is asked before the first call of [`Self::next`].
    pub(super) fn new(client: Client, topic: &str, options: &ReadOptions) -> Self {
        let from = match options.from {
            ReadFrom::Oldest => None,
            ReadFrom::Offset(offset) => Some(From::Offset(offset)),
            ReadFrom::Time(time) => Some(From::TimeMs(time.get())),
            ReadFrom::Newest(count) => Some(From::Newest(count)),
        };
        let request = v1::ReadRequest {
            namespace: client.here(),
            topic: topic.to_owned(),
            from,
            limit: options.limit.unwrap_or(0),
            linearizable: options.linearizable,
            key: options.key.clone(),
            shard: client.shard(),
        };
        let (route, backoff) = (client.nodes.route(), client.backoff());
        Self {
            client,
            request,
            route,
            backoff,
            stream: None,
            buffered: VecDeque::new(),
            wanted: options.limit,
            trouble: None,
            ended: options.limit == Some(0),
        }
    }

    /// The next message; `None` at the end, and after an error. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<StoredMessage, CallError>> {
        loop {
            if let Some(message) = self.buffered.pop_front() {
                return Some(message.map_err(CallError::Refused));
            }
            if self.ended {
                return None;
            }
            if let Err((refusal, leader)) = self.fill().await {
                self.stream = None;
                if let Err(error) = self.rest(refusal, leader.as_deref()).await {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Takes the next response, opening the stream first when there is none.
    async fn fill(&mut self) -> Result<(), (Refusal, Option<String>)> {
        let failed = |status: tonic::Status| (refusal_of(&status), leader_of(&status).map(str::to_owned));
        let late = |_| (Refusal::new(Reason::Unavailable, "the node did not answer in time"), None);
        let limit = self.client.options.attempt_timeout;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let Some((_, channel)) = self.route.current() else {
                    return Err((Refusal::new(Reason::Unavailable, "no node is known"), None));
                };
                let mut client = client_of(channel);
                let opening = client.read(self.request.clone());
                none.insert(timeout(limit, opening).await.map_err(late)?.map_err(failed)?.into_inner())
            }
        };
        match timeout(limit, stream.message()).await.map_err(late)?.map_err(failed)? {
            Some(response) => self.take(response),
            None => self.ended = true,
        }
        Ok(())
    }

    fn take(&mut self, response: v1::ReadResponse) {
        self.trouble = None;
        self.backoff.reset();
        let shard = self.client.shard();
        self.buffered.extend(response.runs.into_iter().flat_map(|run| stored(shard, run)));
        // Should the stream break, another one goes on from here.
        self.request.from = Some(From::Offset(response.next_offset));
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(self.buffered.len() as u64);
            self.request.limit = *wanted;
            self.ended = *wanted == 0;
        }
    }

    async fn rest(&mut self, refusal: Refusal, leader: Option<&str>) -> Result<(), CallError> {
        if refusal.reason.kind() == Kind::Refused {
            return Err(CallError::Refused(refusal));
        }
        self.route.move_on(leader);
        let pause = self.backoff.pause();
        let after = self.client.options.call_timeout;
        if self.trouble.get_or_insert_with(Instant::now).elapsed() + pause >= after {
            return Err(CallError::TimedOut { after, nodes: self.client.nodes.names(), last: refusal });
        }
        sleep(pause).await;
        Ok(())
    }
}
