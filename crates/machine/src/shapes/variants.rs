//! The variants of every enum that is stored or sent, and since which version of the machine each is known.

use crate::access::AccessChange;
use crate::applied::{Answer, Effect};
use crate::backlog::WhenFull;
use crate::backoff::Backoff;
use crate::backup::{NamespaceRestore, RestoreStep};
use crate::batch::Origin;
use crate::config::SubscriptionKind;
use crate::op::{Op, SeekTo, Start};
use crate::provenance::DeathReason;
use crate::quota::QuotaOf;
use crate::rows::RowKey;
use crate::sessions::Party;
use crate::settlement::Verdict;
use quorate_types::{Kind, MatchRule, Permission};

/// An enum whose variants are stored by their place.
pub(super) trait Variants {
    /// All of them, in their order.
    const NAMES: &'static [(u32, &'static str)];

    /// Which one this is.
    fn variant(&self) -> (u32, &'static str);
}

/// There is no arm for the rest: a new variant does not compile until it is listed.
macro_rules! variants {
    ($($kind:literal $enum:ident { $(since $since:literal: $($variant:ident)+;)+ })+) => {
        $(impl Variants for $enum {
            const NAMES: &'static [(u32, &'static str)] = &[$($(($since, stringify!($variant)),)+)+];

            fn variant(&self) -> (u32, &'static str) {
                match self {
                    $($(Self::$variant { .. } => ($since, stringify!($variant)),)+)+
                }
            }
        })+

        /// The variants of each kind of example.
        pub(super) fn all() -> Vec<(&'static str, &'static [(u32, &'static str)])> {
            vec![$(($kind, <$enum as Variants>::NAMES)),+]
        }
    };
}

variants! {
    "op" Op {
        since 1:
            Hello OpenSession OpenProducer DeleteProducer CloseSession ExpireNode Tick CreateTopic ConfigureTopic DeleteTopic
            CreateSubscription DeleteSubscription Bind Unbind BindTopic UnbindTopic Route Compact Purge Cancel Seek Mark DeleteMark
            CloseShard OpenShard Publish PublishEach Commit Attach Detach SetCredit Settle FormCluster RegisterNode CreateNamespace
            KeepNamespace DeleteNamespace RaiseVersion;
        since 2:
            Gather Restore RestoreNamespace Access PutQuota DeleteQuota JoinNode RemoveNode ForgetNode MoveGroup GroupMoved
            BeginDrain EndDrain;
    }
    "answer" Answer {
        since 1:
            Done SessionOpened ProducerOpened Published PublishedEach Committed Settled Purged Cancelled NamespaceCreated;
        since 2: Restored;
    }
    "key" RowKey {
        since 1:
            Meta Limits Session Answers Topic Binding Block Subscription Page Consumer Node Namespace Placement CatchUp Closing Mark
            GoneProducers TopicBinding MessageIds Newest;
        since 2:
            Times Restore RestoredNamespace User Role Quota Place Moving Removed Drain FencedProducers;
    }
    "effect" Effect { since 1: Deliver CloseConsumer DropBlock PlacementChanged; }
    "origin" Origin { since 1: Session Leader; }
    "start" Start { since 1: Latest Offset Time; }
    "seek" SeekTo { since 1: Start Mark; }
    "verdict" Verdict { since 1: Ack Nack Reject NackAfter Extend; }
    "backoff" Backoff { since 1: None Fixed Linear Exponential; }
    "when_full" WhenFull { since 1: RejectPublish DropOldest DeadLetterOldest; }
    "subscription_kind" SubscriptionKind { since 1: Shared Exclusive Failover KeyShared; }
    "match_rule" MatchRule { since 1: All Any; }
    "death" DeathReason { since 1: Rejected MaxAttempts Expired BacklogFull; }
    "party" Party { since 1: Client Node Producer; }
    "kind_of_reason" Kind { since 1: Refused Retryable Fatal; }
    "restore_step" RestoreStep { since 2: Begin Rows Blocks End; }
    "namespace_restore" NamespaceRestore { since 2: Begin Open GiveUp; }
    "access" AccessChange { since 2: CreateUser ChangeUser DeleteUser PutRole DeleteRole; }
    "quota_of" QuotaOf { since 2: Namespace User; }
    "permission" Permission { since 2: Publish Consume Configure Administer; }
}
