//! `quorate.v1.Publisher`, `Consumer`, `Reader` and `Requests`.

use super::{caller, check, guarded};
use crate::auth::Need::{AnySomewhere, Of, Somewhere};
use crate::services::{ConsumerService, PublisherService, ReaderService, RequestsService};
use quorate_types::Permission::{Consume, Publish};
use quorate_wire::v1::{
    self, consumer_server::Consumer, publisher_server::Publisher, reader_server::Reader,
    requests_server::Requests,
};
use tonic::{Request, Response, Status, Streaming};

guarded! {
    Publisher for PublisherService; {
        type PublishStreamStream = <PublisherService as Publisher>::PublishStreamStream;

        // The service asks for each topic and subscription that it names.
        async fn publish(
            &self,
            request: Request<v1::PublishRequest>,
        ) -> Result<Response<v1::PublishResponse>, Status> {
            caller(&request)?;
            self.0.publish(request).await
        }

        // So it does here, for each request of the stream.
        async fn publish_stream(
            &self,
            request: Request<Streaming<v1::PublishRequest>>,
        ) -> Result<Response<Self::PublishStreamStream>, Status> {
            caller(&request)?;
            self.0.publish_stream(request).await
        }
    }
    // Changes of topics and subscriptions are numbered in a session as well.
    open_session(OpenSessionRequest) -> OpenSessionResponse: |m| [AnySomewhere(&m.namespace)], None;
    open_producer(OpenProducerRequest) -> OpenProducerResponse: |m| [Somewhere(Publish, &m.namespace)], None;
    close_session(CloseSessionRequest) -> CloseSessionResponse: |m| [AnySomewhere(&m.namespace)], None;
}

#[tonic::async_trait]
impl Consumer for super::Guarded<ConsumerService> {
    type ConsumeStream = <ConsumerService as Consumer>::ConsumeStream;

    // The service asks when the stream says which subscription it is for.
    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        caller(&request)?;
        self.0.consume(request).await
    }
}

guarded! {
    Reader for ReaderService; {
        type ReadStream = <ReaderService as Reader>::ReadStream;

        async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
            let m = request.get_ref();
            check(&caller(&request)?, [Of(Consume, &m.namespace, &m.topic)])?;
            self.0.read(request).await
        }
    }
    peek(PeekRequest) -> PeekResponse: |m| [Of(Consume, &m.namespace, &m.subscription)], None;
    trace(TraceRequest) -> TraceResponse: |m| [Of(Consume, &m.namespace, &m.topic)], None;
}

guarded! {
    Requests for RequestsService; {
        type OpenInboxStream = <RequestsService as Requests>::OpenInboxStream;

        async fn open_inbox(
            &self,
            request: Request<v1::OpenInboxRequest>,
        ) -> Result<Response<Self::OpenInboxStream>, Status> {
            caller(&request)?;
            self.0.open_inbox(request).await
        }
    }
    // Who replies has been told an address that nobody guesses.
    reply(ReplyRequest) -> ReplyResponse: |_m| [], None;
}
