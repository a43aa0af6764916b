//! Making a shard of the copy of another one, as a node does.

use crate::common::{Driver, SHARD, Step};
use crate::world::limits;
use bytes::{Bytes, BytesMut};
use quorate_machine::{
    Answer, ContentHash, CopiedEntry, CopiedRow, CutEntry, Envelope, Op, Origin, Reply, Restore, RestoreStep,
};

const TOKEN: [u8; 16] = [3; 16];

/// A shard of what another one holds, taken in steps of so many rows, and the hash that both agree on; `None` for the hash where
/// there is nothing to copy yet.
pub(crate) fn restored(
    source: &Driver,
    rows_max: usize,
    transitions_max: u32,
) -> (Driver, Option<ContentHash>) {
    let mut target = Driver::with_limits(SHARD, limits(transitions_max));
    target.lead(Op::RaiseVersion { to: 2 }).0.unwrap();
    target.hello(1, 1);
    let copy = source.machine.clone().into_copy().unwrap();
    let mut steps = vec![(RestoreStep::Begin(copy.head), Bytes::new())];
    steps.extend(copy.rows.chunks(rows_max).map(rows));
    for entry in copy.entries {
        let (_, batch) = &source.log[usize::try_from(entry.index()).unwrap()];
        steps.extend(entry.cut(&batch.block).unwrap().chunks(rows_max).map(blocks));
    }
    steps.extend(copy.last.chunks(rows_max).map(rows));
    steps.push((RestoreStep::End, Bytes::new()));
    let mut taken = None;
    for (number, (step, fragment)) in (0..).zip(steps) {
        let op = Op::Restore(Box::new(Restore { token: TOKEN, number, step }));
        let answer = apply(&mut target, op.clone(), fragment.clone()).unwrap();
        let Answer::Restored { hash, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(apply(&mut target, op, fragment), Ok(answer), "a step that comes again changes nothing");
        target.check();
        taken = Some(hash);
    }
    assert_eq!(taken, Some(copy.hash));
    assert_eq!(target.state().restored_by(&TOKEN), taken);
    (target, taken)
}

fn rows(rows: &[CopiedRow]) -> (RestoreStep, Bytes) {
    (RestoreStep::Rows(rows.to_vec()), Bytes::new())
}

fn blocks(cut: &[CutEntry]) -> (RestoreStep, Bytes) {
    let mut payload = BytesMut::new();
    let entry = |cut: &CutEntry| {
        payload.extend_from_slice(&cut.payload);
        CopiedEntry { rows: cut.rows.clone(), fragment_bytes: u32::try_from(cut.payload.len()).unwrap() }
    };
    (RestoreStep::Blocks(cut.iter().map(entry).collect()), payload.freeze())
}

fn apply(target: &mut Driver, op: Op, fragment: Bytes) -> Reply {
    let step = Step { envelope: Envelope { origin: Origin::Leader, op }, fragment };
    target.apply(&[step]).replies.remove(0)
}
