//! What a shard is copied by, and made again of.
//!
//! A copy is the rows of one state in which nobody is attached: what consumers hold is ready again, sessions are left out save
//! those of producers, and nothing says in which entries of the log the messages are. So two shards have the same copy when they
//! hold the same, whatever their logs, nodes and consumers are, and a copy that was restored is copied again as it was.
//!
//! Of each row there is a hash, and the sum of all is the copy's ([`ContentHash`]): the shard that is copied adds it up from its
//! rows, and the shard that is restored from those that it has taken in and gives back alike.

mod entry;
mod hash;
mod restore;
mod rows;

pub use entry::{CutEntry, SourceEntry};
pub use hash::ContentHash;
pub use restore::{CopiedEntry, CopiedRow, CopyHead, NamespaceRestore, Restore, RestoreStep, RestoreToken};
pub(crate) use restore::{Restoring, closed};
pub use rows::ShardCopy;
