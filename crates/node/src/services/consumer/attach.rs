//! The beginning of a consumer: its first request.

use super::connection::Connection;
use super::outbox::Outbox;
use super::permit::Permit;
use crate::auth::Checked;
use crate::delivery::Seat;
use crate::forwarder::{Numbering, Operation, answer_by};
use crate::gateway::{Gateway, Running};
use crate::quotas::{self, OpenStream};
use quorate_machine::{ConsumerIdentity, ConsumerToken, Op};
use quorate_types::{ConsumerId, Reason, Refusal, Rope, SessionId};
use quorate_wire as wire;
use quorate_wire::v1::{self, consume_request::Request, consume_response::Response};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

/// Serves one stream, from its first request to the detach.
pub(super) async fn serve(
    gateway: Gateway,
    mut requests: Streaming<v1::ConsumeRequest>,
    outbox: Outbox,
    caller: Checked,
) {
    let first = tokio::select! {
        biased;
        () = outbox.tx.closed() => return,
        () = gateway.draining().cancelled_owned() => {
            let refusal = Refusal::new(Reason::Unavailable, "the node is stopping: attach to another one");
            return outbox.end(gateway.status(&refusal));
        }
        first = timeout_at(gateway.deadline(), requests.message()) => first,
    };
    let request = match first {
        Ok(Ok(Some(v1::ConsumeRequest { request: Some(Request::Attach(attach)) }))) => attach,
        Ok(Err(status)) => return outbox.end(status),
        Ok(Ok(_)) | Err(_) => {
            let text = "the first request of a Consume stream must be attach";
            return outbox.end(gateway.status(&Refusal::new(Reason::InvalidArgument, text)));
        }
    };
    let user = caller.user().map(str::to_owned);
    let mut permit = Permit::new(caller, request.namespace.clone(), request.subscription.clone());
    if let Err(refusal) = permit.check() {
        return outbox.end(gateway.status(&refusal));
    }
    match attach(&gateway, &request, user.as_deref()).await {
        Ok(attached) => run(gateway, attached, requests, outbox, permit).await,
        Err(refusal) => outbox.end(gateway.status(&refusal)),
    }
}

/// A consumer that the group has.
struct Attached {
    running: Running,
    seat: Seat,
    consumer: ConsumerId,
    credit: u32,
    /// The stream is one of those of its namespace.
    open: OpenStream,
}

async fn attach(gateway: &Gateway, request: &v1::Attach, user: Option<&str>) -> Result<Attached, Refusal> {
    let deadline = gateway.deadline();
    let subscription = wire::subscription(&request.subscription)?;
    let credit = credit(request.credit, gateway)?;
    let identity = identity(request)?;
    let group = gateway.shard(&request.namespace, request.shard).await?.group;
    let running = gateway.serving(group)?;
    let open = gateway.quotas().open(quotas::whose(&wire::namespace(&request.namespace)?, user))?;
    wait_deliverable(gateway, &running, deadline).await?;
    let number = gateway.consumer_number();
    // Before the group hears of it: the first leases may come before the answer.
    let seat = running.delivery.seat(number);
    let consumer = ConsumerId { session: SessionId::NONE, number };
    let op = Op::Attach { consumer, subscription, credit, priority: request.priority, identity };
    let operation = Operation { numbering: Numbering::Gateway, op, fragment: Rope::new() };
    let answer = match running.forwarder.submit(operation) {
        Ok(answer) => answer_by(answer, deadline, group).await,
        Err(refusal) => {
            running.delivery.forget(number);
            return Err(refusal);
        }
    };
    match answer.reply {
        Ok(_) => {
            let consumer = ConsumerId { session: answer.session, number };
            running.delivery.attached(consumer);
            Ok(Attached { running, seat, consumer, credit, open })
        }
        Err(refusal) if refusal.is_retryable() => {
            // It may be attached yet: the comparison then finds it without a connection.
            running.delivery.abandoned(number);
            Err(refusal)
        }
        Err(refusal) => {
            running.delivery.forget(number);
            Err(refusal)
        }
    }
}

/// A credit within its limits.
///
/// # Errors
/// `INVALID_ARGUMENT` beyond them.
pub(super) fn credit(given: u32, gateway: &Gateway) -> Result<u32, Refusal> {
    let max = gateway.limits().machine.credit_max;
    match given {
        0 => Ok(gateway.limits().credit_default),
        given if given <= max => Ok(given),
        given => {
            let text = format!("the credit is {given}; it must be 1 to {max}");
            Err(Refusal::new(Reason::InvalidArgument, text))
        }
    }
}

/// Who attaches; `None` when it does not say.
fn identity(request: &v1::Attach) -> Result<Option<ConsumerIdentity>, Refusal> {
    if request.identity.is_empty() {
        return Ok(None);
    }
    Ok(Some(ConsumerIdentity { token: token(&request.identity)?, epoch: request.epoch }))
}

/// The identity of a consumer.
///
/// # Errors
/// `INVALID_ARGUMENT` for one that is not as long as it must be: a short one may be drawn twice.
pub(in crate::services) fn token(given: &[u8]) -> Result<ConsumerToken, Refusal> {
    given.try_into().map_err(|_| {
        let (given, wanted) = (given.len(), ConsumerIdentity::TOKEN_BYTES);
        let text = format!("the identity has {given} bytes; it must have {wanted}, drawn at random");
        Refusal::new(Reason::InvalidArgument, text)
    })
}

/// A node that has just started, or come back, may deliver as soon as the leader has answered a heartbeat.
async fn wait_deliverable(gateway: &Gateway, running: &Running, deadline: Instant) -> Result<(), Refusal> {
    let mut changed = gateway.liveness().changed();
    let deliverable = async {
        while !running.delivery.replica().may_deliver() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    timeout_at(deadline, deliverable).await.map_err(|_| {
        let text = "this node has no touch with the leader: attach to another node, or try again";
        Refusal::new(Reason::Unavailable, text)
    })
}

async fn run(
    gateway: Gateway,
    attached: Attached,
    requests: Streaming<v1::ConsumeRequest>,
    outbox: Outbox,
    permit: Permit,
) {
    let Attached { running, seat, consumer, credit, open } = attached;
    let _count = gateway.metrics().consumer();
    let node = gateway.me().node.get();
    let first = v1::Attached { consumer: consumer.to_string(), node, credit };
    outbox.send(v1::ConsumeResponse { response: Some(Response::Attached(first)) }).await;
    let mut connection = Connection::new(gateway.clone(), running.clone(), seat, (consumer, permit), outbox);
    let end = connection.serve(requests).await;
    let written = connection.finish(end.map(|refusal: Refusal| -> Status { gateway.status(&refusal) }));
    running.delivery.ended(consumer, written);
    drop(open);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn an_identity_has_sixteen_bytes_or_is_not_given() {
        let of = |bytes: &'static [u8]| {
            identity(&v1::Attach { identity: Bytes::from_static(bytes), epoch: 3, ..v1::Attach::default() })
        };
        assert_eq!(of(b""), Ok(None));
        let (token, epoch) = (*b"0123456789abcdef", 3);
        assert_eq!(of(b"0123456789abcdef"), Ok(Some(ConsumerIdentity { token, epoch })));
        assert_eq!(of(b"0123456789abcde").map_err(|r| r.reason), Err(Reason::InvalidArgument));
        assert_eq!(of(b"0123456789abcdefg").map_err(|r| r.reason), Err(Reason::InvalidArgument));
    }
}
