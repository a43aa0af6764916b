//! The random operations, each noted in the model before it begins and confirmed there when it has returned.

use crate::model::{LogState, Model, Rows};
use crate::support::{Dice, append, appending, block, body, entry, id};
use quorate_storage::{Checkpoint, GroupStorage, Row, Storage};
use quorate_types::{GroupId, LogId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) const GROUPS: usize = 3;

pub(crate) type Shared = Arc<Mutex<Vec<Model>>>;

/// What a group holds.
pub(crate) async fn observe(group: &GroupStorage, context: &str) -> (LogState, Rows) {
    let mut state =
        LogState { vote: group.vote(), purged: group.purged(), last: group.last(), ..LogState::default() };
    for record in crate::support::all(group).await {
        let LogId { term, index } = record.id;
        assert_eq!(record.bytes, body(term, index, record.bytes.len()), "{context}: entry {index}");
        state.entries.insert(index, (term, record.bytes.len(), record.block));
    }
    let recovered = group.recovered().await.unwrap();
    let rows = recovered.rows.into_iter().map(|row| (row.key, row.value)).collect();
    for (index, entry) in &mut state.entries {
        // Whether its block still lives is a matter of checkpoints.
        entry.2 |= recovered.applied.is_some_and(|applied| *index <= applied.index) && is_block(*index);
    }
    (state, Rows { applied: recovered.applied, rows })
}

fn is_block(index: u64) -> bool {
    index.is_multiple_of(2)
}

struct Driver {
    group: GroupStorage,
    models: Shared,
    number: usize,
}

impl Driver {
    fn model<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.models.lock().unwrap()[self.number])
    }

    /// Appends without waiting: several appends are on their way at any time.
    fn append(&self, dice: &mut Dice) {
        let mut records = Vec::new();
        let step = self.model(|model| {
            let mut step = 0;
            for _ in 0..=dice.below(4) {
                let mut state = model.now();
                let index = state.last.map_or(0, |last| last.index + 1);
                let (term, len) = (model.term, usize::try_from(30 + dice.below(1500)).unwrap());
                let record = if is_block(index) { block(term, index, len) } else { entry(term, index, len) };
                if record.block {
                    model.alive.insert(index, (term, len));
                    model.dropping.remove(&index);
                }
                state.entries.insert(index, (term, len, record.block));
                state.last = Some(record.id);
                records.push(record);
                step = model.step(state);
            }
            step
        });
        let (models, number) = (Arc::clone(&self.models), self.number);
        let done = Box::new(move |result: std::io::Result<()>| {
            if result.is_ok() {
                models.lock().unwrap()[number].confirm_log(step);
            }
        });
        // An error means that the power is gone.
        drop(self.group.append(records, done));
    }

    async fn vote(&self, dice: &mut Dice) -> Option<()> {
        let vote = dice.below(u64::MAX).to_le_bytes().to_vec();
        let step = self.model(|model| {
            let state = LogState { vote: Some(vote.clone()), ..model.now() };
            model.step(state)
        });
        self.group.save_vote(vote).await.ok()?;
        self.model(|model| model.confirm_log(step));
        Some(())
    }

    async fn truncate(&self, dice: &mut Dice) -> Option<()> {
        let (keep, step) = self.model(|model| {
            let mut state = model.now();
            // Never what is applied: that is committed.
            let floor = model.rows_now().applied.max(state.purged).map_or(0, |id| id.index + 1);
            let end = state.last.map_or(0, |last| last.index + 1);
            let keep = floor + dice.below(end.saturating_sub(floor) + 1);
            if keep == 0 {
                state.entries.clear();
                state.last = None;
            } else if keep < end {
                drop(state.entries.split_off(&keep));
                let last = state.entries.last_key_value().map(|(index, entry)| id(entry.0, *index));
                state.last = last.or(state.purged);
            }
            model.alive.retain(|index, _| *index < keep);
            model.term += 1;
            (keep.checked_sub(1), model.step(state))
        });
        self.group.truncate_after(keep).await.ok()?;
        self.model(|model| model.confirm_log(step));
        Some(())
    }

    async fn checkpoint(&self, dice: &mut Dice) -> Option<()> {
        let begun = self.model(|model| {
            let (state, mut rows) = (model.now(), model.rows_now());
            let (index, entry) = state.entries.iter().nth(usize::try_from(dice.below(40)).unwrap())?;
            let applied = id(entry.0, *index);
            if rows.applied.is_some_and(|before| applied < before) {
                return None;
            }
            rows.applied = Some(applied);
            let mut changes = Vec::new();
            for _ in 0..dice.below(6) {
                let key = vec![b'k', u8::try_from(dice.below(12)).unwrap()];
                let value = (dice.below(4) > 0).then(|| vec![u8::try_from(dice.below(250)).unwrap(); 40]);
                match &value {
                    Some(value) => rows.rows.insert(key.clone(), value.clone()),
                    None => rows.rows.remove(&key),
                };
                changes.push((key, value));
            }
            let dropped: Vec<u64> = model
                .alive
                .range(..=applied.index)
                .map(|(index, _)| *index)
                .filter(|_| dice.below(3) > 0)
                .collect();
            model.dropping.extend(&dropped);
            model.rows.push(rows);
            let step = (model.log.len() - 1, model.rows.len() - 1);
            Some((
                Checkpoint { applied, meta: vec![7], rows: changes, dropped: dropped.clone() },
                dropped,
                step,
            ))
        });
        let Some((checkpoint, dropped, (log, rows))) = begun else { return Some(()) };
        self.group.checkpoint(checkpoint).await.ok()?;
        self.model(|model| {
            // A checkpoint waits for the log that it covers.
            model.confirm_log(log);
            model.rows_confirmed = model.rows_confirmed.max(rows);
            model.alive.retain(|index, _| !dropped.contains(index));
        });
        Some(())
    }

    /// What maintenance does: a snapshot of what the checkpoint holds, then the purge.
    async fn snapshot_and_purge(&self, dice: &mut Dice) -> Option<()> {
        let (rows, confirmed) =
            self.model(|model| (model.rows_now(), model.rows.len() - 1 == model.rows_confirmed));
        let Some(applied) = rows.applied.filter(|_| confirmed) else { return Some(()) };
        let content = rows.rows.into_iter().map(|(key, value)| Row { key, value }).collect();
        self.group.write_snapshot(vec![7], applied, content).await.ok()?;
        let purged = self.model(|model| {
            let mut state = model.now();
            let last = dice.below(applied.index + 1);
            let purged = if last == applied.index {
                Some(applied)
            } else {
                state.entries.get(&last).map(|entry| id(entry.0, last))
            };
            let purged =
                purged.filter(|purged| state.purged.is_none_or(|before| before.index < purged.index))?;
            state.entries = state.entries.split_off(&(purged.index + 1));
            state.purged = Some(purged);
            Some((purged, model.step(state)))
        });
        let Some((purged, step)) = purged else { return Some(()) };
        self.group.purge(purged).await.ok()?;
        self.model(|model| model.confirm_log(step));
        Some(())
    }

    /// A snapshot from elsewhere, far ahead of the log, with some blocks.
    async fn install(&self, dice: &mut Dice) -> Option<()> {
        let (last, kept, new) = self.model(|model| {
            let (last, new) = model.begun.clone().unwrap_or_else(|| {
                model.term += 1;
                let from = model.now().last.map_or(0, |last| last.index + 1);
                let last = id(model.term, from + 4 + dice.below(20));
                let new = (from..last.index).filter(|index| is_block(*index) && dice.below(2) == 0).collect();
                (last, new)
            });
            model.begun = Some((last, new.clone()));
            let kept: Vec<u64> = model.alive.keys().copied().filter(|_| dice.below(2) == 0).collect();
            let kept: Vec<u64> = kept.into_iter().filter(|index| !model.dropping.contains(index)).collect();
            (last, kept, new)
        });
        // As a sender does it: whatever the receiver does not say that it holds is sent, again if need be.
        let held: BTreeMap<u64, u32> = self.group.held_blocks(u64::MAX).into_iter().collect();
        for index in &kept {
            let (term, len) = self.model(|model| model.alive[index]);
            if held.get(index) != Some(&crc32c::crc32c(&body(term, *index, len))) {
                self.group.put_block(id(term, *index), body(term, *index, len)).await.ok()?;
            }
        }
        for index in &new {
            self.group.put_block(id(last.term, *index), body(last.term, *index, 300)).await.ok()?;
        }
        let rows: Vec<Row> = (0..u8::try_from(dice.below(9)).unwrap())
            .map(|n| Row { key: vec![b'i', n], value: last.index.to_le_bytes().to_vec() })
            .collect();
        let (log, ledger) = self.model(|model| {
            let gone: Vec<u64> = model.alive.keys().copied().filter(|index| !kept.contains(index)).collect();
            model.dropping.extend(gone);
            let state =
                LogState { purged: Some(last), last: Some(last), entries: BTreeMap::new(), ..model.now() };
            let content = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
            model.rows.push(Rows { applied: Some(last), rows: content });
            (model.step(state), model.rows.len() - 1)
        });
        let live = kept.iter().chain(&new).copied().collect();
        self.group.install(vec![7], last, rows, live).await.ok()?;
        self.model(|model| {
            model.confirm_log(log);
            model.rows_confirmed = ledger;
            model.begun = None;
            model.alive.retain(|index, _| kept.contains(index));
            model.alive.extend(new.iter().map(|index| (*index, (last.term, 300))));
        });
        Some(())
    }

    async fn read(&self, dice: &mut Dice) -> Option<()> {
        let state = self.model(|model| model.now());
        let (Some((first, _)), Some((last, _))) =
            (state.entries.first_key_value(), state.entries.last_key_value())
        else {
            return Some(());
        };
        let from = first + dice.below(last - first + 1);
        let found = self.group.read(from, last + 1, 5000).await.ok()?;
        assert!(!found.is_empty(), "entry {from} cannot be read");
        for (record, index) in found.iter().zip(from..) {
            let (term, len, _) = state.entries[&index];
            assert_eq!((record.id, &record.bytes), (id(term, index), &body(term, index, len)));
        }
        Some(())
    }
}

/// Works until the power goes.
pub(crate) async fn drive(storage: Storage, models: Shared, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        let number = usize::try_from(dice.below(GROUPS as u64)).unwrap();
        let group = storage.group(GroupId::new(number as u64));
        let driver = Driver { group, models: Arc::clone(&models), number };
        let begun = driver.model(|model| model.begun.is_some());
        let went_on = match dice.below(24) {
            _ if begun => driver.install(&mut dice).await,
            0..=11 => {
                driver.append(&mut dice);
                Some(())
            }
            12..=13 => driver.vote(&mut dice).await,
            14 => driver.truncate(&mut dice).await,
            15..=17 => driver.checkpoint(&mut dice).await,
            18..=19 => driver.snapshot_and_purge(&mut dice).await,
            20 => driver.install(&mut dice).await,
            21 => append(&driver.group, Vec::new()).await.ok(),
            _ => driver.read(&mut dice).await,
        };
        if went_on.is_none() || storage.failed().borrow().is_some() {
            return;
        }
        if dice.below(3) == 0 {
            tokio::task::yield_now().await;
        }
        drop(appending(&driver.group, Vec::new()));
    }
}
