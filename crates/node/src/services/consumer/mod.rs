//! `quorate.v1.Consumer`.

mod attach;
mod connection;
mod followed;
mod outbox;
mod permit;
mod settle;

pub(super) use attach::token;
pub(super) use settle::{check_count, settlements};

use super::caller;
use crate::gateway::Gateway;
use futures::stream::BoxStream;
use quorate_wire::v1::{self, consumer_server::Consumer};
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone)]
pub(crate) struct ConsumerService {
    gateway: Gateway,
}

impl ConsumerService {
    /// Consumes through this gateway.
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

#[tonic::async_trait]
impl Consumer for ConsumerService {
    type ConsumeStream = BoxStream<'static, Result<v1::ConsumeResponse, Status>>;

    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let (outbox, responses) = outbox::outbox();
        let caller = caller(&request);
        tokio::spawn(attach::serve(self.gateway.clone(), request.into_inner(), outbox, caller));
        Ok(Response::new(Box::pin(responses)))
    }
}
