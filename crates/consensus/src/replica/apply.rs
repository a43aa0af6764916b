//! Applying committed entries, in order.

use super::{Image, Replica, State};
use crate::codec;
use crate::effects::GroupEvent;
use crate::type_config::{Entry, Payload, Replies, SnapshotMeta, StoredMembership, log_id};
use quorate_machine::{Applied, DeathReason, Effect, Ended, History, Machine, Outcome, entry};
use quorate_types::probe::{self, Fact};
use quorate_types::{GroupId, LogId};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// What a record costs in the log beside its bytes, about.
const RECORD_OVERHEAD: u64 = 48;
/// Upkeep looks again whenever so much was applied: fine enough for the smallest sensible limit.
const WAKE_BYTES: u64 = 256 << 10;
/// …and whenever so many more rows have changed.
const WAKE_ROWS: usize = 256;

impl Replica {
    /// Applies one committed entry and returns its replies.
    ///
    /// # Errors
    /// When a committed entry is not understood: the node must stop, it would diverge from the others.
    pub(crate) fn apply(&self, raft_entry: Entry) -> io::Result<Applying> {
        let at = log_id(&raft_entry.log_id);
        let mut bytes = RECORD_OVERHEAD;
        let batch = match &raft_entry.payload {
            Payload::Normal(data) => {
                bytes += data.bytes.len() as u64;
                let batch = entry::decode(data.bytes.clone()).map_err(io::Error::other)?;
                batch.check_version(self.bounds.version_max).map_err(io::Error::other)?;
                Some(batch)
            }
            Payload::Blank | Payload::Membership(_) => None,
        };
        let mut state = self.lock();
        let Applied { replies, mut effects, ended } = match (raft_entry.payload, batch) {
            (_, Some(batch)) => {
                if probe::planted("apply twice") && self.me.node.get() == 2 && at.index.is_multiple_of(16) {
                    state.machine.apply(at, &batch);
                }
                state.machine.apply(at, &batch)
            }
            (Payload::Membership(membership), None) => {
                state.machine.skip(at);
                state.membership = StoredMembership::new(Some(raft_entry.log_id), membership);
                Applied::default()
            }
            (Payload::Blank | Payload::Normal(_), None) => {
                state.machine.skip(at);
                Applied::default()
            }
        };
        effects.retain(|effect| match effect {
            Effect::DropBlock { index } => {
                state.dropped.push(*index);
                false
            }
            Effect::Deliver(_) | Effect::CloseConsumer { .. } | Effect::PlacementChanged => true,
        });
        let (voter, group, hash) = (self.me, self.group, state.machine.hash());
        probe::tell(|| Fact::Applied { voter, group, id: at, state: hash });
        tell_leases(group, &effects);
        tell_ended(group, &ended);
        let wake = state.count(bytes);
        let waits = self.waits(&state);
        let replaying = state.replay_until.is_some();
        let caught_up = state.replay_until.is_some_and(|until| at.index >= until);
        if caught_up {
            state.replay_until = None;
        }
        if replaying {
            state.history = History::new(state.machine.now());
        } else {
            state.history.note(&ended);
        }
        drop(state);
        self.applied.send_replace(at.index);
        self.tell_leader(waits);
        if wake {
            self.wake.notify_one();
        }
        if replaying {
            effects.clear();
        }
        Ok(Applying { at, replies: Replies(replies), effects, caught_up })
    }

    /// Nobody is woken where nothing changes: by far most entries.
    fn tell_leader(&self, Waits { has_scan, compactable, scattered, unhurried }: Waits) {
        self.scans.send_if_modified(|had| std::mem::replace(had, has_scan) != has_scan);
        self.compactable.send_if_modified(|had| std::mem::replace(had, compactable) != compactable);
        self.scattered.send_if_modified(|had| std::mem::replace(had, scattered) != scattered);
        self.unhurried.store(unhurried, Ordering::Relaxed);
    }

    fn waits(&self, state: &State) -> Waits {
        Waits {
            has_scan: state.has_scan(),
            compactable: state.compactable(),
            scattered: self.bounds.is_scattered(&state.machine),
            unhurried: state.is_unhurried(),
        }
    }

    /// Tells the node what follows from an entry.
    pub(crate) fn tell(&self, at: LogId, effects: Vec<Effect>, caught_up: bool) {
        if caught_up {
            self.effects.emit(GroupEvent::CaughtUp { group: self.group });
        }
        if !effects.is_empty() {
            self.effects.emit(GroupEvent::Effects { group: self.group, at, effects });
        }
    }

    /// Replaces the state by a snapshot's. Durable when it returns.
    ///
    /// # Errors
    /// When the rows are no machine's or storage fails.
    pub(crate) async fn install(&self, meta: &SnapshotMeta, image: Arc<Image>) -> io::Result<()> {
        let Some(last) = meta.last_log_id.as_ref().map(log_id) else { return Ok(()) };
        let rows = image.rows.iter().map(|row| (row.key.clone(), row.value.clone()));
        let machine = Machine::load(self.group, rows).map_err(io::Error::other)?;
        self.bounds.check(&machine).map_err(io::Error::other)?;
        let live = machine.live_blocks();
        let _one = self.writing.lock().await;
        let rows = image.rows.clone();
        let encoded = codec::encode_snapshot_meta(meta);
        self.storage.install(encoded, last, rows, live).await.map_err(io::Error::other)?;
        let mut state = self.lock();
        let replaying = state.replay_until.is_some();
        probe::sometimes("snapshot installed");
        let (voter, group, hash) = (self.me, self.group, machine.hash());
        probe::tell(|| Fact::Installed { voter, group, last, state: hash });
        let mut next = State::new(machine, meta.last_membership.clone());
        next.snapshot_index = Some(last.index);
        next.receiving = state.receiving;
        next.running = state.running;
        next.stored = (!state.running).then(|| (meta.clone(), image));
        *state = next;
        let waits = self.waits(&state);
        drop(state);
        self.applied.send_replace(last.index);
        self.tell_leader(waits);
        self.effects.emit(GroupEvent::Installed { group: self.group, at: last });
        if replaying {
            self.effects.emit(GroupEvent::CaughtUp { group: self.group });
        }
        Ok(())
    }
}

/// What a leader has to do beside what others ask, and whether it may take its time to tell of commits.
struct Waits {
    has_scan: bool,
    compactable: u64,
    scattered: bool,
    unhurried: bool,
}

/// Every replica computes the same leases; whoever is first tells them.
fn tell_leases(group: GroupId, effects: &[Effect]) {
    for effect in effects {
        let Effect::Deliver(deliver) = effect else { continue };
        for run in &deliver.runs {
            probe::tell(|| Fact::Leased {
                group,
                consumer: deliver.consumer,
                position: run.position,
                count: run.count,
                attempt: run.attempt,
                granted_before: run.granted_before,
            });
        }
    }
}

fn tell_ended(group: GroupId, ended: &[Ended]) {
    for Ended { subscription, topic, offset, count, outcome, .. } in ended.iter().copied() {
        let (Outcome::Dropped { reason } | Outcome::DeadLettered { reason, .. }) = outcome else { continue };
        if reason == DeathReason::BacklogFull {
            probe::tell(|| Fact::GaveWay { group, subscription, topic, offset, count });
        }
    }
}

impl State {
    /// Counts an applied entry; whether upkeep should look.
    fn count(&mut self, bytes: u64) -> bool {
        let first = self.dirty.is_none();
        if first {
            self.dirty = Some(Instant::now());
        }
        let before = self.bytes_since_snapshot / WAKE_BYTES;
        self.bytes_since_checkpoint += bytes;
        self.bytes_since_snapshot += bytes;
        let rows = self.machine.changed_rows();
        let rows_before = std::mem::replace(&mut self.rows_seen, rows);
        first
            || self.bytes_since_snapshot / WAKE_BYTES != before
            || rows / WAKE_ROWS != rows_before / WAKE_ROWS
    }
}

/// An applied entry whose replies and effects are still to be handed on.
pub(crate) struct Applying {
    /// Its place.
    pub(crate) at: LogId,
    /// One per operation.
    pub(crate) replies: Replies,
    /// For the node; empty while replaying.
    pub(crate) effects: Vec<Effect>,
    /// The replay ended with this entry.
    pub(crate) caught_up: bool,
}
