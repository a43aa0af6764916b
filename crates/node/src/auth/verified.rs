//! Credentials that were found good a moment ago: checking a password is made to be slow.

use super::caller::Proof;
use quorate_types::Entropy;
use ring::hmac;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So long they are not checked again. A changed password, a deleted user and a token that is over count at once, whatever is here.
const KEPT: Duration = Duration::from_secs(60);
/// Of so many callers; beyond them, those that are over make room, and if there are none, all do.
const KEPT_MAX: usize = 10_000;

/// By a keyed hash: whoever reads this memory later does not find what opens the door.
pub(super) struct Verified {
    key: hmac::Key,
    known: Mutex<BTreeMap<[u8; 32], Entry>>,
}

struct Entry {
    user: String,
    proof: Proof,
    until: Instant,
}

impl Verified {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let key: Vec<u8> = (0..4).flat_map(|_| entropy.next_u64().to_le_bytes()).collect();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), known: Mutex::default() }
    }

    fn hash(&self, credentials: &[u8]) -> Option<[u8; 32]> {
        hmac::sign(&self.key, credentials).as_ref().try_into().ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, credentials: &[u8]) -> Option<(String, Proof)> {
        let hash = self.hash(credentials)?;
        let known = self.lock();
        let entry = known.get(&hash).filter(|entry| entry.until > Instant::now())?;
        Some((entry.user.clone(), entry.proof.clone()))
    }

    pub(super) fn put(&self, credentials: &[u8], user: &str, proof: &Proof) {
        let Some(hash) = self.hash(credentials) else { return };
        let now = Instant::now();
        let mut known = self.lock();
        if known.len() >= KEPT_MAX {
            known.retain(|_, entry| entry.until > now);
        }
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(hash, Entry { user: user.to_owned(), proof: proof.clone(), until: now + KEPT });
    }
}
