//! What a peer port refuses.

mod support;

use quorate_types::ClusterId;
use quorate_wire::peer::raft_client::RaftClient;
use quorate_wire::peer::{Frame, Link};
use quorate_wire::{ChannelOptions, Connect, member};
use support::{CLUSTER, Cluster, GROUP, address, voter};
use tonic::Code;

fn frame(cluster: ClusterId, target: u64, incarnation: u64, group: u64) -> Frame {
    let link = Link {
        cluster_id: cluster.to_string(),
        source: Some(member(voter(2, 1))),
        target: Some(member(voter(target, incarnation))),
    };
    Frame { link: Some(link), group, data: vec![1, 2, 3].into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_for_another_cluster_incarnation_or_group_and_garbage_are_refused() {
    let cluster = Cluster::start().await;
    let channel = cluster.hub.channel(&address(1), &ChannelOptions::peer()).unwrap();
    let mut stub = RaftClient::new(channel);
    let group = GROUP.get();
    let cases = [
        (frame(ClusterId::new(2), 1, 1, group), Code::FailedPrecondition),
        (frame(CLUSTER, 1, 2, group), Code::FailedPrecondition),
        (frame(CLUSTER, 2, 1, group), Code::FailedPrecondition),
        (Frame { link: None, group, data: Vec::new().into() }, Code::InvalidArgument),
        (frame(CLUSTER, 1, 1, 99), Code::Unavailable),
        (frame(CLUSTER, 1, 1, group), Code::InvalidArgument),
    ];
    for (frame, code) in cases {
        assert_eq!(stub.vote(frame.clone()).await.unwrap_err().code(), code, "{frame:?}");
        assert_eq!(stub.append(frame.clone()).await.unwrap_err().code(), code, "{frame:?}");
        assert_eq!(stub.pre_vote(frame.clone()).await.unwrap_err().code(), code, "{frame:?}");
        assert_eq!(stub.transfer_leader(frame.clone()).await.unwrap_err().code(), code, "{frame:?}");
    }
    // None of it did any harm.
    cluster.leader().await;
}
