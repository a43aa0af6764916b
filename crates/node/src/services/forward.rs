//! `Peers.Forward`: operations of other nodes' gateways, on the leader's side.

use crate::batcher::{Answered, Batcher, Outcome, ReplyTo, Submission};
use crate::forwarder::{decode_envelope, encode_reply};
use crate::gateway::Gateway;
use futures::stream::BoxStream;
use quorate_machine::{Envelope, Origin, block};
use quorate_types::{GroupId, Reason, Refusal};
use quorate_wire::peer::{ForwardRequest, ForwardResponse, Link, forward_response};
use quorate_wire::{forward_error, status_of, voter};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status, Streaming};

/// Operations of one stream that may be unanswered or whose answers may wait to be written: above what a forwarder sends.
const IN_FLIGHT_MAX: usize = 16_384;

/// Answers of a forward stream.
pub(crate) type ForwardStream = BoxStream<'static, Result<ForwardResponse, Status>>;

/// Serves one stream of a peer's gateway.
///
/// # Errors
/// Never by itself; what is wrong with a request ends the stream with a status.
pub(crate) fn forward(
    gateway: Gateway,
    request: Request<Streaming<ForwardRequest>>,
) -> Result<Response<ForwardStream>, Status> {
    let (answers, answered) = mpsc::unbounded_channel();
    let (end, ended) = mpsc::channel(1);
    tokio::spawn(take(gateway, request.into_inner(), answers, end));
    let responses = futures::stream::unfold((answered, ended), next_response);
    Ok(Response::new(Box::pin(responses)))
}

/// The state of a stream's answering side: answers, and the status with which it ends.
type Answering = (mpsc::UnboundedReceiver<Answered>, mpsc::Receiver<Status>);

async fn next_response(
    (mut answered, mut ended): Answering,
) -> Option<(Result<ForwardResponse, Status>, Answering)> {
    tokio::select! {
        biased;
        answer = answered.recv() => {
            let Answered { id, outcome, room, .. } = answer?;
            // Taken to be written: the next operation may come.
            drop(room);
            let outcome = match outcome {
                Outcome::Replied(reply) => forward_response::Outcome::Reply(encode_reply(&reply)),
                Outcome::Retry(refusal) => forward_response::Outcome::Error(forward_error(&refusal, None)),
            };
            Some((Ok(ForwardResponse { id, outcome: Some(outcome) }), (answered, ended)))
        }
        Some(status) = ended.recv() => {
            // What is unanswered will be sent again by the gateway, which sees the stream end.
            answered.close();
            while answered.try_recv().is_ok() {}
            Some((Err(status), (answered, ended)))
        }
    }
}

/// Takes operations until the stream ends.
async fn take(
    gateway: Gateway,
    mut requests: Streaming<ForwardRequest>,
    answers: mpsc::UnboundedSender<Answered>,
    end: mpsc::Sender<Status>,
) {
    let rooms = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (queue, queued) = mpsc::channel(IN_FLIGHT_MAX);
    tokio::spawn(submit(queued, answers.clone()));
    let mut introduced = false;
    loop {
        let room = tokio::select! {
            biased;
            () = answers.closed() => return,
            room = Arc::clone(&rooms).acquire_owned() => match room {
                Ok(room) => room,
                Err(_) => return,
            },
        };
        let request = tokio::select! {
            biased;
            () = answers.closed() => return,
            () = gateway.stopping().cancelled() => {
                let refusal = Refusal::new(Reason::Unavailable, "the node is stopping");
                drop(end.try_send(status_of(&refusal)));
                return;
            }
            request = requests.message() => match request {
                Ok(Some(request)) => request,
                // The peer gave the stream up: nobody waits for the answers.
                Ok(None) | Err(_) => return,
            },
        };
        let reply = ReplyTo::Link { link: 0, id: request.id, answers: answers.clone(), room: Some(room) };
        if let Err(refusal) = accept(&gateway, &queue, request, reply, &mut introduced) {
            drop(end.try_send(status_of(&refusal)));
            return;
        }
    }
}

/// Hands a stream's operations to their batcher, in order. While that is full they wait here and not in HTTP/2: heartbeats
/// and the operations of other groups come over the same connection. No more of them than the peer may have unanswered.
async fn submit(mut queued: mpsc::Receiver<(Batcher, Submission)>, answers: mpsc::UnboundedSender<Answered>) {
    while let Some((batcher, submission)) = queued.recv().await {
        tokio::select! {
            biased;
            // What nobody waits for any more is sent again on another stream.
            () = answers.closed() => return,
            () = batcher.submit(submission) => {}
        }
    }
}

/// Checks one operation and puts it in the queue for the batcher.
fn accept(
    gateway: &Gateway,
    queue: &mpsc::Sender<(Batcher, Submission)>,
    request: ForwardRequest,
    reply: ReplyTo,
    introduced: &mut bool,
) -> Result<(), Refusal> {
    if !*introduced {
        check_link(gateway, request.link.as_ref())?;
        *introduced = true;
    }
    let envelope = decode_envelope(&request.envelope)
        .map_err(|e| Refusal::new(Reason::InvalidArgument, e.to_string()))?;
    check_operation(&envelope, &request.fragment)?;
    match gateway.running(GroupId::new(request.group)) {
        Ok(running) => {
            let submission = Submission { envelope, fragment: request.fragment.into(), reply };
            // Each operation in the queue holds one of the rooms, and there is a place for each of these.
            let full = || Refusal::new(Reason::Overloaded, "the stream has too many operations in flight");
            queue.try_send((running.batcher, submission)).map_err(|_| full())?;
        }
        Err(refusal) => reply.tell(Outcome::Retry(refusal)),
    }
    Ok(())
}

/// The first request says who speaks to whom.
fn check_link(gateway: &Gateway, link: Option<&Link>) -> Result<(), Refusal> {
    let link = link.ok_or_else(|| invalid("the first request of a forward stream has no link"))?;
    let me = gateway.me();
    if link.cluster_id != gateway.cluster().to_string() {
        let text = format!("the operation is for cluster {}, this is {}", link.cluster_id, gateway.cluster());
        return Err(Refusal::new(Reason::WrongCluster, text));
    }
    match link.target.as_ref().map(voter) {
        Some(target) if target == me => Ok(()),
        target => {
            let target = target.map_or_else(|| "nobody".to_owned(), |t| t.to_string());
            Err(Refusal::new(
                Reason::WrongIncarnation,
                format!("the operation is for {target}, this is {me}"),
            ))
        }
    }
}

/// What a forwarded operation must be, whatever the peer believes: apply must find the fragments where the operations say.
pub(super) fn check_operation(envelope: &Envelope, fragment: &bytes::Bytes) -> Result<(), Refusal> {
    if envelope.origin == Origin::Leader && !envelope.op.opens_or_closes_session() {
        return Err(invalid("only what opens or closes a session goes without a number"));
    }
    let expected = envelope.op.fragment_bytes();
    if fragment.len() as u64 != expected {
        let text = format!("the fragment has {} bytes, its operation says {expected}", fragment.len());
        return Err(invalid(&text));
    }
    let mut rest = fragment.clone();
    for publish in envelope.op.publishes() {
        let own = rest.split_to(rest.len().min(publish.fragment_bytes as usize));
        if own.is_empty() {
            continue;
        }
        let count =
            u32::try_from(publish.count()).map_err(|_| invalid("the publish has too many messages"))?;
        block::bodies(&own, 0, 0, count).map_err(|e| invalid(&e.to_string()))?;
    }
    Ok(())
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(Reason::InvalidArgument, text)
}
