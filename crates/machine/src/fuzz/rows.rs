//! Rows of state, one by one: from the row store, from snapshots of other nodes, and from backups.

use super::BINCODE_BYTES;
use crate::codec::{DecodeError, decode_row, encode_row};
use crate::rows::{self, RowKey};
use quorate_fuzz::{Codec, Seen, Source, Target, Unsuited, run};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Does something for the type of a row. A kind of row that is not here does not compile.
macro_rules! of_its_type {
    ($key:expr, $function:ident($($argument:expr),*)) => {
        match $key {
            RowKey::Meta => $function::<rows::meta::Meta>($($argument),*),
            RowKey::Limits => $function::<quorate_types::Limits>($($argument),*),
            RowKey::Session(_) => $function::<rows::session::SessionRow>($($argument),*),
            RowKey::Answers(..) => $function::<crate::answers::AnswerPage>($($argument),*),
            RowKey::Topic(_) => $function::<rows::topic::TopicRow>($($argument),*),
            RowKey::Binding(..) => $function::<rows::binding::BindingRow>($($argument),*),
            RowKey::Block(..) => $function::<crate::shard::Block>($($argument),*),
            RowKey::Subscription(_) => $function::<rows::subscription::SubscriptionRow>($($argument),*),
            RowKey::Page(..) => $function::<rows::page::Page>($($argument),*),
            RowKey::Consumer(_) => $function::<rows::consumer::ConsumerRow>($($argument),*),
            RowKey::Node(_) => $function::<crate::NodeRecord>($($argument),*),
            RowKey::Namespace(_) => $function::<crate::NamespaceView>($($argument),*),
            RowKey::Placement(_) => $function::<crate::Placement>($($argument),*),
            RowKey::CatchUp(..) => $function::<crate::shard::CatchUp>($($argument),*),
            RowKey::Closing => $function::<(crate::shard::Closing, quorate_types::ShardPlace)>($($argument),*),
            RowKey::Mark(..) => $function::<rows::mark::MarkRow>($($argument),*),
            RowKey::GoneProducers => {
                $function::<std::collections::BTreeSet<quorate_types::SessionId>>($($argument),*)
            }
            RowKey::FencedProducers => {
                $function::<std::collections::BTreeMap<quorate_types::SessionId, crate::producers::Fenced>>($($argument),*)
            }
            RowKey::TopicBinding(..) => $function::<quorate_types::Filter>($($argument),*),
            RowKey::MessageIds(..) => $function::<rows::message_ids::Page>($($argument),*),
            RowKey::Newest(..) => $function::<Vec<(u16, crate::shard::NewestOf)>>($($argument),*),
            RowKey::Times(..) => $function::<Vec<u8>>($($argument),*),
            RowKey::Restore => $function::<crate::backup::Restoring>($($argument),*),
            RowKey::RestoredNamespace(_) => $function::<crate::RestoreToken>($($argument),*),
            RowKey::User(_) => $function::<crate::UserRecord>($($argument),*),
            RowKey::Role(_) => $function::<crate::RoleRecord>($($argument),*),
            RowKey::Quota(_) => $function::<(crate::QuotaOf, crate::Quota)>($($argument),*),
            RowKey::Place(_) => $function::<crate::NodePlace>($($argument),*),
            RowKey::Moving(_) => $function::<Vec<quorate_types::NodeId>>($($argument),*),
            RowKey::Removed(_) => $function::<quorate_types::Incarnation>($($argument),*),
            RowKey::Drain => $function::<crate::Drain>($($argument),*),
        }
    };
}

/// The key of any kind of row, of things that are likely there.
pub(super) fn any_key(source: &mut Source<'_>) -> Option<RowKey> {
    let kind = source.byte() % 32;
    (0..4_usize).find_map(|ids| {
        let mut bytes = vec![kind];
        (0..ids).for_each(|_| bytes.extend(source.number().to_be_bytes()));
        RowKey::decode(&bytes)
    })
}

/// A value as a row of that kind may have it.
pub(super) fn any_value(key: RowKey, source: &mut Source<'_>) -> Result<Vec<u8>, Unsuited> {
    of_its_type!(key, drawn(source))
}

fn drawn<T: Serialize + DeserializeOwned>(source: &mut Source<'_>) -> Result<Vec<u8>, Unsuited> {
    Ok(encode_row(&source.any::<T>()?))
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(source: &mut Source<'_>, seen: &Seen) {
    let codec = Codec::<T, DecodeError> { encode: encode_row, decode: decode_row };
    if let Ok(value) = source.any::<T>() {
        let target = Target::new(&codec).holds(BINCODE_BYTES + (4 << 20), 256);
        target.check(source, seen, &value);
    }
}

#[test]
fn fuzz_row() {
    run!(|source, seen| {
        let Some(key) = any_key(source) else { return };
        let bytes = key.encode();
        assert_eq!(RowKey::decode(&bytes), Some(key));
        of_its_type!(key, check(source, seen));
    });
}

#[test]
fn fuzz_row_key() {
    run!(|source, seen| {
        let Some(key) = any_key(source) else { return };
        seen.valid();
        let mut bytes = key.encode();
        source.damage(&mut bytes);
        let read = RowKey::decode(&bytes);
        assert!(read.is_none_or(|key| key.encode() == bytes), "a key has one form");
        seen.damaged(read.is_some());
    });
}
