//! Copies of namespaces in files, and namespaces made of them.

mod error;
mod format;
mod frames;
mod restore;
mod take;

pub use error::{BackupError, FormatError, RestoreError};
pub use format::{BackupItem, BackupReader, BackupWriter, CopiedNamespace, CopiedShard};
pub use restore::Restored;

use crate::channel::Channel;
use crate::client::{Called, Client};
use quorate_wire::CLIENT_BYTES_MAX;
use quorate_wire::v1::backup_client::BackupClient;
use std::future::Future;
use tonic::{Response, Status};

fn client_of(channel: Channel) -> BackupClient<Channel> {
    BackupClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX)
}

impl Client {
    async fn backup_call<Q, T, F, A>(&self, request: Q, attempt: F) -> Called<T>
    where
        Q: Clone,
        F: Fn(BackupClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(request, |channel, request| attempt(client_of(channel), request)).await
    }
}
