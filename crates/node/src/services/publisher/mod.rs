//! `quorate.v1.Publisher`.

mod answers;
mod commit;
#[cfg(test)]
mod fuzz;
mod outcomes;
mod permitted;
mod placing;
mod prepare;
mod stream;

use crate::auth::Checked;
use crate::forwarder::{Numbering, Operation};
use crate::gateway::{Gateway, ShardAt};
use crate::quotas::{self, Exceeded};
use crate::services::{caller, session};
use futures::stream::BoxStream;
use outcomes::{Outcomes, unexpected};
use prepare::Prepared;
use quorate_machine::{Answer, Op, ProducerInstance};
use quorate_types::{Reason, Refusal};
use quorate_wire as wire;
use quorate_wire::v1::{self, publisher_server::Publisher};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

/// Bounds of a session's timeout: shorter ones end in every election, longer ones keep answers of dead clients for days.
const SESSION_TIMEOUT_MS: RangeInclusive<u64> = 10_000..=86_400_000;
const SESSION_TIMEOUT_MS_DEFAULT: u64 = 300_000;
/// Bounds of a producer's: a minute, and 365 days.
const PRODUCER_TIMEOUT_MS: RangeInclusive<u64> = 60_000..=31_536_000_000;
/// 7 days.
const PRODUCER_TIMEOUT_MS_DEFAULT: u64 = 604_800_000;

/// The service.
#[derive(Clone)]
pub(crate) struct PublisherService {
    gateway: Gateway,
}

impl PublisherService {
    /// Publishes through this gateway.
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    async fn open(&self, request: v1::OpenSessionRequest) -> Result<v1::OpenSessionResponse, Refusal> {
        let timeout_ms = granted(request.timeout_ms, &SESSION_TIMEOUT_MS, SESSION_TIMEOUT_MS_DEFAULT)?;
        let group = self.shard(&request.namespace, request.shard, &request.topic).await?.group;
        let op = Op::OpenSession { timeout: Duration::from_millis(timeout_ms) };
        match self.gateway.call(group, op, self.gateway.deadline()).await? {
            Answer::SessionOpened { session } => {
                let leader = self.gateway.leader_for_clients(group).unwrap_or_default();
                Ok(v1::OpenSessionResponse {
                    session: session::for_client(group, session),
                    timeout_ms,
                    leader,
                })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn open_named(
        &self,
        request: v1::OpenProducerRequest,
    ) -> Result<v1::OpenProducerResponse, Refusal> {
        let timeout_ms = granted(request.timeout_ms, &PRODUCER_TIMEOUT_MS, PRODUCER_TIMEOUT_MS_DEFAULT)?;
        let producer = wire::producer(&request.producer)?;
        let instance = instance(&request.instance)?;
        let group = self.shard(&request.namespace, request.shard, &request.topic).await?.group;
        let op = Op::OpenProducer { producer, instance, timeout: Duration::from_millis(timeout_ms) };
        match self.gateway.call(group, op, self.gateway.deadline()).await? {
            Answer::ProducerOpened { session, epoch, last } => Ok(v1::OpenProducerResponse {
                session: session::for_client(group, session),
                epoch,
                last_sequence: last,
                timeout_ms,
                leader: self.gateway.leader_for_clients(group).unwrap_or_default(),
            }),
            other => Err(unexpected(&other)),
        }
    }

    async fn close(&self, request: v1::CloseSessionRequest) -> Result<v1::CloseSessionResponse, Refusal> {
        let all = self.gateway.shards(&request.namespace).await?;
        let group = all.of_group(session::group_of(request.session)).map_or_else(|| all.at(0), Ok)?.group;
        let op = Op::CloseSession { session: session::of_client(group, request.session)? };
        self.gateway.call(group, op, self.gateway.deadline()).await?;
        Ok(v1::CloseSessionResponse {})
    }

    /// The shard of a conversation.
    async fn shard(&self, namespace: &str, shard: Option<u32>, topic: &str) -> Result<ShardAt, Refusal> {
        let all = self.gateway.shards(namespace).await?;
        if topic.is_empty() || !all.shards().are_several() {
            return all.one(shard);
        }
        self.gateway.shard_of_topic_in(&all, shard, &wire::topic(topic)?).await
    }

    async fn publish_one(
        &self,
        request: v1::PublishRequest,
        mut caller: Checked,
    ) -> Result<Outcomes, Refusal> {
        if request.session != 0 || request.sequence != 0 {
            let text = "Publish uses the node's session: leave session and sequence 0, or use PublishStream";
            return Err(Refusal::new(Reason::InvalidArgument, text));
        }
        let ShardAt { group, place } = placing::shard_of(&self.gateway, &request).await?;
        let denied = permitted::denied(&mut caller, &request)?;
        let Prepared { op, fragment, per_topic } =
            prepare::prepare(&request, self.gateway.limits(), place, &denied)?;
        let bytes = fragment.len() as u64;
        let running = if commit::publishes(&request) {
            self.gateway.publishing(group)?
        } else {
            self.gateway.serving(group)?
        };
        let operation = Operation { numbering: Numbering::Gateway, op, fragment };
        let answer = running.forwarder.call(operation, self.gateway.deadline()).await?;
        Ok(Outcomes::of(group, answer, bytes, per_topic))
    }

    /// Whether quotas let a request through; where its namespace is no name, that is said when it is looked up.
    fn within_quota(&self, request: &v1::PublishRequest, user: Option<&str>) -> Result<(), Exceeded> {
        if !self.gateway.quotas().any() {
            return Ok(());
        }
        let Ok(namespace) = wire::namespace(&request.namespace) else { return Ok(()) };
        let (messages, bytes) = prepare::volume(request);
        self.gateway.quotas().publish(&quotas::whose(&namespace, user), messages, bytes)
    }

    fn status(&self, refusal: &Refusal) -> Status {
        self.gateway.status(refusal)
    }
}

#[tonic::async_trait]
impl Publisher for PublisherService {
    type PublishStreamStream = BoxStream<'static, Result<v1::PublishResponse, Status>>;

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        self.open(request.into_inner()).await.map(Response::new).map_err(|r| self.status(&r))
    }

    async fn open_producer(
        &self,
        request: Request<v1::OpenProducerRequest>,
    ) -> Result<Response<v1::OpenProducerResponse>, Status> {
        self.open_named(request.into_inner()).await.map(Response::new).map_err(|r| self.status(&r))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.close(request.into_inner()).await.map(Response::new).map_err(|r| self.status(&r))
    }

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let arrived = Instant::now();
        let caller = caller(&request);
        let request = request.into_inner();
        if let Err(exceeded) = self.within_quota(&request, caller.user()) {
            self.gateway.metrics().publish_refused(exceeded.refusal.reason);
            return Err(wire::with_retry_after(self.status(&exceeded.refusal), exceeded.wait));
        }
        let spans = prepare::follow(self.gateway.traces(), &request);
        let published = self.publish_one(request, caller).await;
        let outcomes = published.unwrap_or_else(Outcomes::refused);
        outcomes.count(self.gateway.metrics(), arrived.elapsed());
        spans.end(outcomes.first.as_ref().err());
        match &outcomes.first {
            Err(refusal) if outcomes.is_whole() => Err(self.status(refusal)),
            _ => Ok(Response::new(outcomes.response(0))),
        }
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let caller = caller(&request);
        let responses = stream::serve(self.gateway.clone(), request.into_inner(), caller);
        Ok(Response::new(Box::pin(responses)))
    }
}

/// A timeout as asked for; 0 is the default.
fn granted(ms: u64, bounds: &RangeInclusive<u64>, default: u64) -> Result<u64, Refusal> {
    match ms {
        0 => Ok(default),
        ms if bounds.contains(&ms) => Ok(ms),
        ms => {
            let (min, max) = (bounds.start(), bounds.end());
            let text = format!("timeout_ms is {ms}; it must be {min} to {max}, or 0 for the default");
            Err(Refusal::new(Reason::InvalidArgument, text))
        }
    }
}

/// Who opens a producer; empty is nobody in particular.
fn instance(bytes: &[u8]) -> Result<Option<ProducerInstance>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| {
        let text = format!("the instance has {} bytes; it must have 16, or none", bytes.len());
        Refusal::new(Reason::InvalidArgument, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_outside_its_bounds_and_an_instance_of_another_length_are_refused() {
        let reason = |refusal: Refusal| refusal.reason;
        let timeout = |ms| granted(ms, &PRODUCER_TIMEOUT_MS, PRODUCER_TIMEOUT_MS_DEFAULT).map_err(reason);
        assert_eq!((timeout(0), timeout(60_000)), (Ok(604_800_000), Ok(60_000)));
        assert_eq!([59_999, 31_536_000_001].map(timeout), [Err(Reason::InvalidArgument); 2]);
        assert_eq!(instance(&[]).map_err(reason), Ok(None));
        assert_eq!(instance(&[7; 16]).map_err(reason), Ok(Some([7; 16])));
        assert_eq!(instance(&[7; 15]).map_err(reason), Err(Reason::InvalidArgument));
    }
}
