//! The public interface, `quorate.v1`: generated from `proto/quorate/v1`, where every message and field is
//! described.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]

pub use crate::carried::{PublishRequest, Run, TopicMessages};

tonic::include_proto!("quorate.v1");

/// Descriptors of the whole public interface, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("quorate.v1");
