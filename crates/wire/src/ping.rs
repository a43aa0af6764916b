//! Asks a server whether it answers at all.

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// An empty request asks for the health of the whole server (gRPC Health Checking Protocol).
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Returns when the server has said anything, whatever it was.
///
/// # Errors
/// Why it cannot be reached. A process that hangs says nothing: bound the wait.
pub async fn ping(channel: Channel) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(HEALTH);
    // Fields that a message does not know are skipped: the empty message reads every answer.
    match grpc.unary::<(), (), _>(Request::new(()), path, ProstCodec::default()).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::Unimplemented => Ok(()),
        Err(status) => Err(status),
    }
}
