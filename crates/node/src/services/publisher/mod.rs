//! `quorate.v1.Publisher`.

mod answers;
mod commit;
mod outcomes;
mod prepare;
mod stream;

use crate::forwarder::{Numbering, Operation};
use crate::gateway::Gateway;
use crate::services::session;
use futures::stream::BoxStream;
use outcomes::{Outcomes, unexpected};
use prepare::Prepared;
use quorate_machine::{Answer, Op};
use quorate_types::{Reason, Refusal};
use quorate_wire::v1::{self, publisher_server::Publisher};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

/// Bounds of a session's timeout: shorter ones end in every election, longer ones keep answers of dead clients for days.
const SESSION_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 10_000..=86_400_000;
const SESSION_TIMEOUT_MS_DEFAULT: u64 = 300_000;

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
        let timeout_ms = match request.timeout_ms {
            0 => SESSION_TIMEOUT_MS_DEFAULT,
            ms if SESSION_TIMEOUT_MS.contains(&ms) => ms,
            ms => {
                let (min, max) = (SESSION_TIMEOUT_MS.start(), SESSION_TIMEOUT_MS.end());
                let text = format!("timeout_ms is {ms}; it must be {min} to {max}, or 0 for the default");
                return Err(Refusal::new(Reason::InvalidArgument, text));
            }
        };
        let group = self.gateway.resolve(&request.namespace).await?;
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

    async fn close(&self, request: v1::CloseSessionRequest) -> Result<v1::CloseSessionResponse, Refusal> {
        let group = self.gateway.resolve(&request.namespace).await?;
        let op = Op::CloseSession { session: session::of_client(group, request.session)? };
        self.gateway.call(group, op, self.gateway.deadline()).await?;
        Ok(v1::CloseSessionResponse {})
    }

    async fn publish_one(&self, request: v1::PublishRequest) -> Result<Outcomes, Refusal> {
        if request.session != 0 || request.sequence != 0 {
            let text = "Publish uses the node's session: leave session and sequence 0, or use PublishStream";
            return Err(Refusal::new(Reason::InvalidArgument, text));
        }
        let Prepared { op, fragment, per_topic } = prepare::prepare(&request, self.gateway.limits())?;
        let bytes = fragment.len() as u64;
        let group = self.gateway.resolve(&request.namespace).await?;
        let running = if commit::publishes(&request) {
            self.gateway.publishing(group)?
        } else {
            self.gateway.serving(group)?
        };
        let operation = Operation { numbering: Numbering::Gateway, op, fragment };
        let answer = running.forwarder.call(operation, self.gateway.deadline()).await?;
        Ok(Outcomes::of(group, answer, bytes, per_topic))
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
        let published = self.publish_one(request.into_inner()).await;
        let outcomes = published.unwrap_or_else(Outcomes::refused);
        outcomes.count(self.gateway.metrics(), arrived.elapsed());
        match &outcomes.first {
            Err(refusal) if outcomes.is_whole() => Err(self.status(refusal)),
            _ => Ok(Response::new(outcomes.response(0))),
        }
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let responses = stream::serve(self.gateway.clone(), request.into_inner());
        Ok(Response::new(Box::pin(responses)))
    }
}
