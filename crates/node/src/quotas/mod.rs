//! What tenants and users may do through this node. The quotas are replicated state of group 0; each node holds those that use it
//! to the whole of them, by itself: so a bound is one of each node, and no node waits for another one's word.
//!
//! A stream of publishes that is too fast is read more slowly, which its client's window feels; a single publish, and a stream that
//! is one too many, is refused (`QUOTA_EXCEEDED`).

mod bucket;

use crate::core::Core;
use bucket::Bucket;
use quorate_machine::{Quota, QuotaOf};
use quorate_types::{NamespaceName, Reason, Refusal};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Clone handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether there are any: looked at by every publish.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    quotas: BTreeMap<QuotaOf, Kept>,
    /// Open streams, also of those that have no quota yet.
    streams: BTreeMap<QuotaOf, u32>,
}

#[derive(Debug, Default)]
struct Kept {
    quota: Quota,
    messages: Bucket,
    bytes: Bucket,
}

/// Why something does not go through now, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) wait: Duration,
    pub(crate) refusal: Refusal,
}

/// Whose quotas something counts for.
pub(crate) fn whose(namespace: &NamespaceName, user: Option<&str>) -> Vec<QuotaOf> {
    let user = user.map(|user| QuotaOf::User(user.to_owned()));
    std::iter::once(QuotaOf::Namespace(namespace.clone())).chain(user).collect()
}

impl Quotas {
    /// From now on these hold. What has gone through counts on.
    pub(crate) fn set(&self, all: BTreeMap<QuotaOf, Quota>) {
        let mut state = self.lock();
        let mut before = std::mem::take(&mut state.quotas);
        let kept = |(of, quota): (QuotaOf, Quota)| {
            let kept = Kept { quota, ..before.remove(&of).unwrap_or_default() };
            (of, kept)
        };
        state.quotas = all.into_iter().map(kept).collect();
        self.inner.any.store(!state.quotas.is_empty(), Ordering::Relaxed);
    }

    /// Whether anybody has one.
    pub(crate) fn any(&self) -> bool {
        self.inner.any.load(Ordering::Relaxed)
    }

    /// Publishes so much, if all concerned may publish anything now.
    ///
    /// # Errors
    /// [`Exceeded`]: nothing was counted.
    pub(crate) fn publish(&self, whose: &[QuotaOf], messages: u64, bytes: u64) -> Result<(), Exceeded> {
        if !self.any() {
            return Ok(());
        }
        let now = Instant::now();
        let mut state = self.lock();
        for of in whose {
            if let Some(exceeded) = state.quotas.get(of).and_then(|kept| kept.exceeded(of, now)) {
                return Err(exceeded);
            }
        }
        for of in whose {
            if let Some(kept) = state.quotas.get_mut(of) {
                let Quota { messages_per_second, bytes_per_second, .. } = kept.quota;
                messages_per_second.into_iter().for_each(|rate| kept.messages.take(messages, rate, now));
                bytes_per_second.into_iter().for_each(|rate| kept.bytes.take(bytes, rate, now));
            }
        }
        Ok(())
    }

    /// Opens a stream, which is counted until what is returned is dropped.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`.
    pub(crate) fn open(&self, whose: Vec<QuotaOf>) -> Result<OpenStream, Refusal> {
        let mut state = self.lock();
        for of in &whose {
            let max = state.quotas.get(of).and_then(|kept| kept.quota.streams_max);
            let open = state.streams.get(of).copied().unwrap_or_default();
            if let Some(max) = max.filter(|max| open >= *max) {
                let text = format!(
                    "{} has {open} streams open through this node, and may have {max}: close one, or use another node",
                    named(of)
                );
                return Err(Refusal::new(Reason::QuotaExceeded, text));
            }
        }
        for of in &whose {
            *state.streams.entry(of.clone()).or_default() += 1;
        }
        drop(state);
        Ok(OpenStream { quotas: self.clone(), whose })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn exceeded(&self, of: &QuotaOf, now: Instant) -> Option<Exceeded> {
        let Quota { messages_per_second, bytes_per_second, .. } = self.quota;
        let rates =
            [(messages_per_second, self.messages, "messages"), (bytes_per_second, self.bytes, "bytes")];
        let waits =
            rates.into_iter().filter_map(|(rate, bucket, what)| Some((bucket.wait(now), rate?, what)));
        let (wait, rate, what) = waits.max_by_key(|(wait, ..)| *wait).filter(|(wait, ..)| !wait.is_zero())?;
        let text = format!(
            "{} may publish {rate} {what} a second through each node: again in {} ms",
            named(of),
            wait.as_millis().max(1)
        );
        Some(Exceeded { wait, refusal: Refusal::new(Reason::QuotaExceeded, text) })
    }
}

fn named(of: &QuotaOf) -> String {
    match of {
        QuotaOf::Namespace(name) => format!("namespace {name}"),
        QuotaOf::User(name) => format!("user {name}"),
    }
}

/// A stream that counts.
#[derive(Debug)]
pub(crate) struct OpenStream {
    quotas: Quotas,
    whose: Vec<QuotaOf>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.quotas.lock();
        for of in &self.whose {
            if let Some(open) = state.streams.get_mut(of) {
                *open -= 1;
                if *open == 0 {
                    state.streams.remove(of);
                }
            }
        }
    }
}

/// Follows what group 0 says, until the node stops.
pub(crate) async fn follow(core: Core, changed: watch::Receiver<u64>) {
    let quotas = core.gateway.quotas();
    core.follow_system(changed, |system| system.quotas(), |all| quotas.set(all)).await;
}

#[cfg(test)]
mod tests;
