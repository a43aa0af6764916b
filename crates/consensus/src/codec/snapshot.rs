//! What is stored and sent beside the rows of a snapshot or checkpoint: `[version u8][last log id?][membership's log
//! id?][membership][machine version u32]`.

use super::membership::{get_membership, put_membership};
use super::vote::{get_log_id_option, put_log_id_option};
use super::{Input, Malformed};
use crate::type_config::{SnapshotMeta, StoredMembership};
use bytes::{BufMut, Bytes};
use quorate_machine::Machine;

const VERSION: u8 = 1;

/// The bytes of a snapshot's metadata. The rows beside them are of [`Machine::VERSION`].
pub(crate) fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.put_u8(VERSION);
    put_log_id_option(&mut out, meta.last_log_id.as_ref());
    put_log_id_option(&mut out, meta.last_membership.log_id().as_ref());
    put_membership(&mut out, meta.last_membership.membership());
    out.put_u32_le(Machine::VERSION);
    out
}

/// Reads [`encode_snapshot_meta`]'s bytes.
///
/// # Errors
/// When they are anything else, or of a newer machine than this one: it could not go on from its rows as the others do.
pub(crate) fn decode_snapshot_meta(bytes: Bytes) -> Result<SnapshotMeta, Malformed> {
    let mut input = Input::versioned("snapshot metadata", bytes, VERSION)?;
    let last_log_id = get_log_id_option(&mut input)?;
    let membership_id = get_log_id_option(&mut input)?;
    let membership = get_membership(&mut input)?;
    let machine = input.u32()?;
    if machine > Machine::VERSION {
        let clamp = |version: u32| u8::try_from(version).unwrap_or(u8::MAX);
        return Err(Malformed::Version {
            what: "machine state",
            found: clamp(machine),
            known: clamp(Machine::VERSION),
        });
    }
    input.end()?;
    Ok(SnapshotMeta { last_log_id, last_membership: StoredMembership::new(membership_id, membership) })
}
