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
use quorate_wire::CLIENT_BYTES_MAX;
use quorate_wire::v1::backup_client::BackupClient;

fn client_of(channel: Channel) -> BackupClient<Channel> {
    BackupClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX)
}
