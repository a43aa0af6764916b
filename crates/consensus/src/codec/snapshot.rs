//! What is stored and sent beside the rows of a snapshot or checkpoint: `[version u8][last log id?][membership's log
//! id?][membership]`. By which version of the machine the group decides is in the rows.

use super::membership::{get_membership, put_membership};
use super::vote::{get_log_id_option, put_log_id_option};
use super::{Input, Malformed};
use crate::type_config::{SnapshotMeta, StoredMembership};
use bytes::{BufMut, Bytes};

const VERSION: u8 = 1;

/// The bytes of a snapshot's metadata.
pub(crate) fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.put_u8(VERSION);
    put_log_id_option(&mut out, meta.last_log_id.as_ref());
    put_log_id_option(&mut out, meta.last_membership.log_id().as_ref());
    put_membership(&mut out, meta.last_membership.membership());
    out
}

/// Reads [`encode_snapshot_meta`]'s bytes.
///
/// # Errors
/// When they are anything else.
pub(crate) fn decode_snapshot_meta(bytes: Bytes) -> Result<SnapshotMeta, Malformed> {
    let mut input = Input::versioned("snapshot metadata", bytes, VERSION)?;
    let last_log_id = get_log_id_option(&mut input)?;
    let membership_id = get_log_id_option(&mut input)?;
    let membership = get_membership(&mut input)?;
    input.end()?;
    Ok(SnapshotMeta { last_log_id, last_membership: StoredMembership::new(membership_id, membership) })
}
