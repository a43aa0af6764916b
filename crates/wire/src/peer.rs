//! What nodes say to each other, `quorate.peer.v1`: generated from `proto/quorate/peer/v1`, where every message
//! and field is described.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated")]

tonic::include_proto!("quorate.peer.v1");
