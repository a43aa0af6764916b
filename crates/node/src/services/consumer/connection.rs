//! One attached consumer: requests in, deliveries and answers out.

use super::followed::Followed;
use super::outbox::{Outbox, Outgoing};
use super::permit::Permit;
use super::{attach, settle};
use crate::delivery::{Cutter, Seat};
use crate::forwarder::{Numbering, Operation, answer_by};
use crate::gateway::{Gateway, Running};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use quorate_machine::{LeaseRun, Op};
use quorate_types::{ConsumerId, Reason, Refusal, Rope};
use quorate_wire::v1::{self, consume_request::Request, consume_response::Response};
use std::collections::VecDeque;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

/// Bytes and messages of one response: large enough to be cheap, small enough to be read soon.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
const RESPONSE_MESSAGES_MAX: u64 = 1_000;
/// Settles that may be unanswered; while there are more, nothing is read from the connection.
const SETTLES_MAX: usize = 1_024;

/// A consumer's connection.
pub(super) struct Connection {
    gateway: Gateway,
    running: Running,
    consumer: ConsumerId,
    permit: Permit,
    outbox: Outbox,
    granted: mpsc::Receiver<LeaseRun>,
    closed: oneshot::Receiver<Refusal>,
    cutter: Cutter,
    /// Granted and not sent, in order.
    runs: VecDeque<LeaseRun>,
    settles: FuturesOrdered<BoxFuture<'static, v1::Settled>>,
    /// The change of credit that is not done yet: one at a time, the client waits with what it says next.
    crediting: Option<oneshot::Receiver<crate::forwarder::Answer>>,
    /// Answers that are to be sent, oldest first: no more than settles.
    answers: VecDeque<v1::Settled>,
    /// How many of the messages granted to it are in responses that were handed to the outbox.
    queued: u64,
    /// The caller ended its side.
    ended: bool,
    /// Messages that it holds and that are followed.
    followed: Followed,
}

/// Why a connection is over: `None` in good order.
type End = Option<Refusal>;

impl Connection {
    pub(super) fn new(
        gateway: Gateway,
        running: Running,
        seat: Seat,
        (consumer, permit): (ConsumerId, Permit),
        outbox: Outbox,
    ) -> Self {
        let cutter = Cutter::new(running.delivery.replica());
        Self {
            gateway,
            running,
            consumer,
            permit,
            outbox,
            granted: seat.runs,
            closed: seat.closed,
            cutter,
            runs: VecDeque::new(),
            settles: FuturesOrdered::new(),
            crediting: None,
            answers: VecDeque::new(),
            queued: 0,
            ended: false,
            followed: Followed::default(),
        }
    }

    /// Serves until the consumer is over, and says why.
    pub(super) async fn serve(&mut self, mut requests: Streaming<v1::ConsumeRequest>) -> End {
        loop {
            if self.ended && self.settles.is_empty() && self.answers.is_empty() {
                return None;
            }
            let may_read = !self.ended
                && self.crediting.is_none()
                && self.settles.len() + self.answers.len() < SETTLES_MAX;
            let has_output = !self.answers.is_empty() || !self.runs.is_empty();
            tokio::select! {
                biased;
                closed = &mut self.closed => {
                    let gone = || Refusal::new(Reason::Unavailable, "the group is stopping on this node: attach again");
                    return Some(closed.unwrap_or_else(|_| gone()));
                }
                () = self.outbox.tx.closed() => return None,
                () = self.permit.changed() => if let Err(refusal) = self.permit.check() {
                    return Some(refusal);
                },
                // Whatever became of it; the next one may come.
                _ = async { self.crediting.as_mut()?.await.ok() }, if self.crediting.is_some() => self.crediting = None,
                Some(settled) = self.settles.next(), if !self.settles.is_empty() => self.answers.push_back(settled),
                permit = self.outbox.tx.clone().reserve_owned(), if has_output => {
                    let Ok(permit) = permit else { return None };
                    match self.output().await {
                        Ok(Some(outgoing)) => {
                            self.queued = self.queued.max(outgoing.written);
                            drop(permit.send(outgoing));
                        }
                        Ok(None) => {}
                        Err(refusal) => return Some(refusal),
                    }
                }
                Some(run) = self.granted.recv(), if self.runs.is_empty() => self.take_runs(run),
                request = requests.message(), if may_read => match request {
                    Ok(Some(v1::ConsumeRequest { request: Some(request) })) => if let Err(refusal) = self.request(request) {
                        return Some(refusal);
                    },
                    Ok(Some(_)) => return Some(invalid("a request without content")),
                    Ok(None) => self.ended = true,
                    Err(_) => return None,
                },
            }
        }
    }

    /// Ends the stream, and says how many messages were written to it.
    pub(super) fn finish(self, status: Option<Status>) -> u64 {
        // A caller that is still there will read what is queued; one that is gone has what was taken from the queue.
        let gone = self.outbox.tx.is_closed();
        let written = if gone { self.outbox.written() } else { self.queued };
        if let Some(status) = status {
            self.outbox.end(status);
        }
        written
    }

    fn take_runs(&mut self, first: LeaseRun) {
        self.runs.push_back(first);
        while let Ok(run) = self.granted.try_recv() {
            match self.runs.back_mut() {
                Some(last) if follows(last, &run) => last.count += run.count,
                _ => self.runs.push_back(run),
            }
        }
    }

    /// The next response; answers before deliveries, they are what a publisher of results waits for.
    async fn output(&mut self) -> Result<Option<Outgoing>, Refusal> {
        if let Some(settled) = self.answers.pop_front() {
            self.gateway.metrics().settled(&settled);
            let response = v1::ConsumeResponse { response: Some(Response::Settled(settled)) };
            return Ok(Some(Outgoing { response: Ok(response), written: 0 }));
        }
        if !self.running.delivery.replica().may_deliver() {
            let text = "this node has lost touch with the leader: attach again, to another node";
            return Err(Refusal::new(Reason::Unavailable, text));
        }
        self.deliveries().await
    }

    /// A response full of messages, as far as there are some; `None` when what was granted is not kept any more.
    async fn deliveries(&mut self) -> Result<Option<Outgoing>, Refusal> {
        let (mut messages, mut bytes, mut written) = (0_u64, 0_usize, 0_u64);
        let mut deliveries = Vec::new();
        while let Some(mut run) = self.next_run() {
            let count = run.count.min(RESPONSE_MESSAGES_MAX - messages);
            let cut = self.cutter.cut(run.topic, run.offset, count, RESPONSE_BYTES_MAX - bytes).await?;
            for piece in cut.pieces {
                let first_position = run.position + (piece.first() - run.offset);
                self.followed.deliver(&self.gateway, first_position, &piece);
                messages += piece.end() - piece.first();
                bytes += piece.bytes;
                deliveries.push(v1::Delivery { first_position, attempt: run.attempt, run: Some(piece.run) });
            }
            let done = cut.end - run.offset;
            written = run.granted_before + done;
            if done < run.count {
                run.position += done;
                run.offset += done;
                run.count -= done;
                run.granted_before += done;
                self.runs.push_front(run);
            }
            if messages >= RESPONSE_MESSAGES_MAX || bytes >= RESPONSE_BYTES_MAX || done < count {
                break;
            }
        }
        if deliveries.is_empty() {
            return Ok(None);
        }
        self.gateway.metrics().delivered(messages);
        let response =
            v1::ConsumeResponse { response: Some(Response::Deliveries(v1::Deliveries { deliveries })) };
        Ok(Some(Outgoing { response: Ok(response), written }))
    }

    /// The first of what waits that is still leased to this consumer. What waited for a slow reader until its lease ended is
    /// another one's by now, or acked: it is not sent any more.
    fn next_run(&mut self) -> Option<LeaseRun> {
        while let Some(run) = self.runs.pop_front() {
            let mut held = self.running.delivery.replica().held(self.consumer, &run).into_iter();
            if let Some(first) = held.next() {
                held.rev().for_each(|later| self.runs.push_front(later));
                return Some(first);
            }
        }
        None
    }

    fn request(&mut self, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Attach(_) => {
                Err(invalid("the consumer is attached already: one stream is one consumer"))
            }
            Request::Settle(v1::Settle { id, settlements }) => {
                self.settle(id, &settlements);
                Ok(())
            }
            Request::Credit(v1::SetCredit { credit }) => {
                if credit == 0 {
                    return Err(invalid("the credit is 0; it must be 1 or more"));
                }
                let credit = attach::credit(credit, &self.gateway)?;
                // Not answered: a client that hears nothing of it sees how much it gets.
                let op = Op::SetCredit { consumer: self.consumer, credit };
                self.submit(op).map(|answer| self.crediting = Some(answer))
            }
        }
    }

    fn settle(&mut self, id: u64, given: &[v1::Settlement]) {
        self.gateway.metrics().settle_requested();
        let spans = self.followed.settle(&self.gateway, given);
        let submitted = settle::settlements(given)
            .and_then(|settlements| self.submit(Op::Settle { consumer: self.consumer, settlements }));
        let (deadline, group) = (self.gateway.deadline(), self.running.forwarder.group());
        self.settles.push_back(match submitted {
            Ok(answer) => Box::pin(async move {
                let answer = answer_by(answer, deadline, group).await;
                spans.end(answer.reply.as_ref().err());
                settle::settled(id, answer)
            }),
            Err(refusal) => Box::pin(std::future::ready(settle::refused(id, &refusal))),
        });
    }

    fn submit(&self, op: Op) -> Result<oneshot::Receiver<crate::forwarder::Answer>, Refusal> {
        let operation = Operation { numbering: Numbering::Gateway, op, fragment: Rope::new() };
        self.running.forwarder.submit(operation)
    }
}

/// Whether two runs are one.
fn follows(last: &LeaseRun, next: &LeaseRun) -> bool {
    last.topic == next.topic
        && last.attempt == next.attempt
        && last.offset + last.count == next.offset
        && last.position + last.count == next.position
        && last.granted_before + last.count == next.granted_before
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(Reason::InvalidArgument, text)
}
