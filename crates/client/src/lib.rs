//! The Rust client of Quorate.
//!
//! ```no_run
//! # async fn tour() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_client::{Client, ClientOptions, ConsumerOptions, Message, PublisherOptions};
//!
//! let client = Client::connect(&["127.0.0.1:7411", "127.0.0.1:7412"], ClientOptions::default()).await?;
//! client.create_topic("orders", Default::default()).await?;
//! client.create_subscription("packing", Default::default(), &[("orders", "*.paid")]).await?;
//!
//! let publisher = client.publisher(PublisherOptions::default());
//! let receipt = publisher.publish("orders", Message::new("hello").subject("7.paid")).await?;
//! println!("stored at offset {}", receipt.offset);
//!
//! let mut consumer = client.consume("packing", ConsumerOptions::default()).await?;
//! while let Some(delivery) = consumer.next().await {
//!     let delivery = delivery?;
//!     println!("{:?}", delivery.message.payload);
//!     delivery.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A program that is to store everything once though it is killed and started again publishes as a [`Producer`]. A
//! worker that publishes what comes of a message and acks it in one [`Commit`] does its work exactly once.
//!
//! A client knows several nodes and moves on to the next one when one fails. Publishing survives that without duplicates
//! ([`Publisher`]); consuming goes on by itself ([`Consumer`]).

mod admin;
mod backoff;
mod backup;
mod changes;
mod channel;
mod client;
mod cluster;
mod commit;
mod consumer;
mod credentials;
mod entropy;
mod error;
#[cfg(test)]
mod fuzz;
mod layout;
mod look;
mod message;
mod nodes;
mod options;
mod publisher;
mod pulse;
mod quotas;
mod reader;
mod requester;
mod routing;
mod users;

pub use backup::{
    BackupError, BackupItem, BackupReader, BackupWriter, CopiedNamespace, CopiedShard, FormatError,
    RestoreError, Restored,
};
pub use client::Client;
pub use commit::Commit;
pub use consumer::{Attachment, Consumer, Delivery, Settling};
pub use credentials::{Credentials, CredentialsError};
pub use entropy::OsEntropy;
pub use error::{CallError, ConnectError, ConsumeError, PublishError, RequestError, SettleError};
pub use look::{PeekOptions, PeekPage, Peeked, PeekedState, TraceRoute, Traced};
pub use message::{Message, MessageDecodeError, Receipt};
pub use options::{ClientOptions, ConsumerOptions, ProducerOptions, PublisherOptions, SeekTo, Start};
pub use publisher::{BatchConfirmation, CommitConfirmation, Confirmation, Numbered, Producer, Publisher};
pub use quorate_types::{Kind, Reason, Refusal, Shards, TraceParent, TraceParentError};
pub use quorate_wire::v1;
pub use quorate_wire::{ClientFiles, ClientTls, Connect, KeyFiles, TlsError, TlsNet};
pub use reader::{ReadFrom, ReadOptions, Reader, StoredMessage};
pub use routing::Headers;
