//! What may go wrong with copies.

use crate::error::CallError;
use quorate_types::Refusal;
use thiserror::Error;

/// Bytes that are no backup, or not a whole one.
#[derive(Debug, Error)]
pub enum FormatError {
    /// They begin otherwise.
    #[error("this is not a backup of quorate")]
    NotABackup,
    /// A newer program wrote it.
    #[error("the backup has format {found}, and this program knows {known}: use a newer quorate")]
    Version {
        /// What it says.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// It ends before its end.
    #[error("the backup is cut short, after {frames} frames")]
    Truncated {
        /// How many frames are whole.
        frames: u64,
    },
    /// A frame is not what was written.
    #[error("frame {frame} of the backup is damaged: {what}")]
    Damaged {
        /// Which one, from 0.
        frame: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It cannot be read or written.
    #[error("cannot read or write the backup: {0}")]
    Io(#[from] std::io::Error),
}

/// Why no backup was taken.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A call was refused, or not answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The copy of a shard broke off: what was written is no use.
    #[error("the copy of shard {shard} of namespace {namespace} broke off: {last}; take the backup again")]
    BrokeOff {
        /// Of which namespace.
        namespace: String,
        /// Which shard.
        shard: u32,
        /// What it ended with.
        last: Refusal,
    },
    /// It could not be written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The backup is not a whole one.
    #[error("{0}; nothing is restored")]
    Format(#[from] FormatError),
    /// A call was refused, or not answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A namespace that was asked for is not in it.
    #[error("the backup has no namespace {0}")]
    Missing(String),
    /// What the cluster took in is not what was copied.
    #[error(
        "shard {shard} of namespace {namespace} holds {restored} and should hold {copied}; nothing is restored"
    )]
    Differs {
        /// Of which namespace.
        namespace: String,
        /// Which shard.
        shard: u32,
        /// Hash of what was copied.
        copied: String,
        /// Hash of what was taken in.
        restored: String,
    },
}
