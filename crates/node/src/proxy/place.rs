//! What a call is about, by its first message.

use crate::core::Core;
use crate::services::group_of;
use prost::Message;
use quorate_types::{GroupId, NamespaceName};
use quorate_wire::v1;

/// The namespace, and what else narrows it down.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    namespace: String,
    shard: Option<u32>,
    /// A client's session, which is with one group; 0: none.
    session: u64,
}

/// All requests name these alike.
#[derive(Clone, PartialEq, Message)]
struct Common {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(uint32, optional, tag = "14")]
    shard: Option<u32>,
}

/// Calls about copies do with one shard at a time.
#[derive(Clone, PartialEq, Message)]
struct OfShard {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(uint32, tag = "2")]
    shard: u32,
}

type Named = fn(&[u8]) -> Option<Place>;

/// How a call's first message says what it is about; `None` for calls that any node serves.
pub(super) fn named_by(path: &str) -> Option<Named> {
    let (service, method) = path.strip_prefix("/quorate.v1.")?.split_once('/')?;
    match (service, method) {
        ("Publisher", "Publish" | "PublishStream") => Some(published),
        ("Publisher", "CloseSession") => Some(closed),
        ("Consumer", "Consume") => Some(consumed),
        // What is in group 0 is everywhere.
        ("Admin", "CreateNamespace" | "DeleteNamespace" | "ListNamespaces" | "DescribeNamespace") => None,
        ("Backup", "Copy" | "PutPart") => Some(copied),
        ("Backup", "BeginRestore") => None,
        ("Publisher" | "Reader" | "Admin" | "Backup", _) => Some(plain),
        _ => None,
    }
}

fn plain(message: &[u8]) -> Option<Place> {
    let Common { namespace, shard } = Common::decode(message).ok()?;
    Some(Place { namespace, shard, session: 0 })
}

fn copied(message: &[u8]) -> Option<Place> {
    let OfShard { namespace, shard } = OfShard::decode(message).ok()?;
    Some(Place { namespace, shard: Some(shard), session: 0 })
}

fn published(message: &[u8]) -> Option<Place> {
    let v1::PublishRequest { namespace, shard, session, .. } = v1::PublishRequest::decode(message).ok()?;
    Some(Place { namespace, shard, session })
}

fn closed(message: &[u8]) -> Option<Place> {
    let v1::CloseSessionRequest { namespace, session, .. } = v1::CloseSessionRequest::decode(message).ok()?;
    Some(Place { namespace, shard: None, session })
}

fn consumed(message: &[u8]) -> Option<Place> {
    let request = v1::ConsumeRequest::decode(message).ok()?.request?;
    let v1::consume_request::Request::Attach(v1::Attach { namespace, shard, .. }) = request else {
        return None;
    };
    Some(Place { namespace, shard, session: 0 })
}

impl Place {
    /// The groups of which one or all are needed. `None`: it is not known here, and this node finds out what to say.
    pub(super) fn groups(&self, core: &Core) -> Option<Vec<GroupId>> {
        let name = if self.namespace.is_empty() { NamespaceName::DEFAULT } else { &self.namespace };
        let name = NamespaceName::parse(name).ok()?;
        let all = core.system(|system| system.namespace(&name))??.groups;
        if self.session != 0 {
            return Some(vec![group_of(self.session)]).filter(|of| all.contains(&of[0]));
        }
        match self.shard {
            Some(shard) => all.get(shard as usize).map(|group| vec![*group]),
            None => Some(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, message: &impl Message) -> Option<Place> {
        named_by(path)?(&message.encode_to_vec())
    }

    fn named(namespace: &str, shard: Option<u32>, session: u64) -> Option<Place> {
        Some(Place { namespace: namespace.to_owned(), shard, session })
    }

    #[test]
    fn every_call_about_a_namespace_says_which() {
        let (namespace, shard) = ("shop".to_owned(), Some(3));
        let topic = v1::CreateTopicRequest { namespace: namespace.clone(), shard, ..Default::default() };
        assert_eq!(place("/quorate.v1.Admin/CreateTopic", &topic), named("shop", shard, 0));
        let read = v1::ReadRequest { namespace: namespace.clone(), shard, ..Default::default() };
        assert_eq!(place("/quorate.v1.Reader/Read", &read), named("shop", shard, 0));
        let open = v1::OpenSessionRequest { namespace: namespace.clone(), shard, ..Default::default() };
        assert_eq!(place("/quorate.v1.Publisher/OpenSession", &open), named("shop", shard, 0));
        let publish = v1::PublishRequest { namespace: namespace.clone(), session: 7, ..Default::default() };
        assert_eq!(place("/quorate.v1.Publisher/PublishStream", &publish), named("shop", None, 7));
        let close =
            v1::CloseSessionRequest { namespace: namespace.clone(), session: 7, ..Default::default() };
        assert_eq!(place("/quorate.v1.Publisher/CloseSession", &close), named("shop", None, 7));
        let copy = v1::CopyRequest { namespace: namespace.clone(), shard: 3 };
        assert_eq!(place("/quorate.v1.Backup/Copy", &copy), named("shop", shard, 0));
        let part = v1::PutPartRequest { namespace: namespace.clone(), shard: 3, ..Default::default() };
        assert_eq!(place("/quorate.v1.Backup/PutPart", &part), named("shop", shard, 0));
        let end = v1::EndRestoreRequest { namespace: namespace.clone(), ..Default::default() };
        assert_eq!(place("/quorate.v1.Backup/EndRestore", &end), named("shop", None, 0));
        let attach = v1::Attach { namespace, shard, ..Default::default() };
        let consume = v1::ConsumeRequest { request: Some(v1::consume_request::Request::Attach(attach)) };
        assert_eq!(place("/quorate.v1.Consumer/Consume", &consume), named("shop", shard, 0));
    }

    #[test]
    fn what_any_node_serves_is_not_looked_at() {
        for path in [
            "/quorate.v1.Cluster/Status",
            "/quorate.v1.Requests/OpenInbox",
            "/quorate.v1.Admin/CreateNamespace",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(named_by(path).is_none(), "{path}");
        }
        assert_eq!(named_by("/quorate.v1.Reader/Read").and_then(|named| named(b"\x0a\x09short")), None);
    }
}
