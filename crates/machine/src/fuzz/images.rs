//! All rows of a machine together: as they come in a snapshot, and in a backup that somebody may have written by hand.

use super::rows::{any_key, any_value};
use super::seeds::{self, Driver, SHARD};
use crate::{CopiedEntry, CopiedRow, Machine, Op, Origin, Restore, RestoreStep, ShardCopy};
use bytes::Bytes;
use quorate_fuzz::{Seen, Source, run};
use quorate_types::{GroupId, LogId};
use std::sync::LazyLock;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Damages rows: some are other ones, some are gone, some were not there.
fn damage(source: &mut Source<'_>, rows: &mut Rows) {
    for _ in 0..=source.below(3) {
        let at = source.below(rows.len());
        let choice = source.byte() % 6;
        match (choice, rows.get_mut(at)) {
            // As it is stored the value begins with a version: what is behind it is more rewarding.
            (0 | 1, Some((_, value))) => source.damage(value),
            (2, Some((key, value))) => {
                let key = crate::rows::RowKey::decode(key);
                if let Some(Ok(other)) = key.map(|key| any_value(key, source)) {
                    *value = other;
                }
            }
            (3, Some(_)) => drop(rows.remove(at)),
            _ => {
                let Some(key) = any_key(source) else { return };
                if let Ok(value) = any_value(key, source) {
                    rows.push((key.encode(), value));
                }
            }
        }
    }
}

fn load(group: GroupId, mut rows: Rows, source: &mut Source<'_>, seen: &Seen) {
    seen.valid();
    damage(source, &mut rows);
    let loaded = Machine::load(group, rows);
    seen.damaged(loaded.is_ok());
    if let Ok(machine) = loaded {
        let image = machine.image();
        let again = Machine::load(group, image.clone()).map(|machine| machine.image());
        assert_eq!(again, Ok(image), "what was loaded is loaded again as it was");
    }
}

#[test]
fn fuzz_image() {
    let shard = seeds::shard().machine.image();
    let system = seeds::system().machine.image();
    assert!(shard.len() > 20 && system.len() > 8, "{} and {} rows", shard.len(), system.len());
    run!(|source, seen| {
        match source.flip() {
            true => load(SHARD, shard.clone(), source, seen),
            false => load(GroupId::SYSTEM, system.clone(), source, seen),
        }
    });
}

static COPY: LazyLock<(ShardCopy, Vec<Bytes>)> = LazyLock::new(|| {
    let Driver { machine, blocks, .. } = seeds::shard();
    (machine.into_copy().unwrap(), blocks)
});

fn copied(rows: Rows) -> Vec<CopiedRow> {
    rows.into_iter().map(|(key, value)| CopiedRow { key, value }).collect()
}

fn pairs(rows: &[CopiedRow]) -> Rows {
    rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect()
}

/// Restores a shard of a copy, damaged or not; whether it is whole then.
fn restore(source: &mut Source<'_>, driver: &mut Driver, harm: bool) -> bool {
    let (copy, blocks) = &*COPY;
    let mut head = copy.head.clone();
    if harm && source.one_in(4) {
        head.last_topic = source.number();
        head.last_subscription = source.number();
        head.last_binding = source.number();
        head.now = quorate_types::Millis::new(source.number());
    }
    let parts = [pairs(&copy.rows), pairs(&copy.last)];
    let which = source.below(3);
    let [rows, last] = [0, 1].map(|at| {
        let mut rows = parts[at].clone();
        if harm && at == which {
            damage(source, &mut rows);
        }
        copied(rows)
    });
    let mut payload = Vec::new();
    let mut entries = Vec::new();
    for entry in &copy.entries {
        let index = usize::try_from(entry.index()).unwrap();
        for cut in entry.clone().cut(&blocks[index]).unwrap() {
            let mut rows = pairs(&cut.rows);
            if harm && which == 2 && source.one_in(3) {
                damage(source, &mut rows);
            }
            entries.push(CopiedEntry {
                rows: copied(rows),
                fragment_bytes: u32::try_from(cut.payload.len()).unwrap(),
            });
            payload.extend_from_slice(&cut.payload);
        }
    }
    let steps = [
        (RestoreStep::Begin(head), Bytes::new()),
        (RestoreStep::Rows(rows), Bytes::new()),
        (RestoreStep::Blocks(entries), Bytes::from(payload)),
        (RestoreStep::Rows(last), Bytes::new()),
        (RestoreStep::End, Bytes::new()),
    ];
    (0..).zip(steps).all(|(number, (step, block))| {
        let op = Op::Restore(Box::new(Restore { token: [7; 16], number, step }));
        driver.apply(Origin::Leader, (op, block)).is_ok()
    })
}

/// Whoever restores a backup may have written it: what is taken in must be a shard that works, whatever is asked of it.
#[test]
fn fuzz_restore() {
    let mut whole = Driver::of(Machine::new(SHARD));
    whole.lead(Op::RaiseVersion { to: 2 }).unwrap();
    let empty = whole.machine.clone();
    assert!(restore(&mut Source::new(&[]), &mut whole, false), "what is not damaged is restored");
    whole.hello(2);
    for op in seeds::after() {
        let said = format!("{:?}", op.0);
        let reply = whole.ask(op);
        assert!(reply.is_ok(), "{said}: {reply:?}");
    }
    run!(|source, seen| {
        let mut driver = Driver::of(empty.clone());
        seen.valid();
        let taken = restore(source, &mut driver, true);
        seen.damaged(taken);
        let image = driver.machine.image();
        let again = Machine::load(SHARD, image.clone()).map(|machine| machine.image());
        assert_eq!(again, Ok(image), "what was restored is loaded as it is");
        driver.hello(2);
        let mut all = seeds::after();
        all.extend(seeds::at_last());
        for op in all {
            let _ = driver.ask(op);
            let _ = (driver.attach("s-1"), driver.attach("s-2"), driver.lead(Op::Tick));
        }
        if taken {
            assert_eq!(driver.machine.violations(), [], "what was restored is a shard");
        }
        assert!(driver.machine.applied() > Some(LogId::default()));
    });
}
