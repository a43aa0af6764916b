//! Passwords: made into hashes, and compared with them. Never in the machine, which must not draw a salt.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use quorate_machine::PasswordHash;
use quorate_types::{Entropy, Reason, Refusal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// What OWASP's Password Storage Cheat Sheet asks for of argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Shorter ones are guessed.
const BYTES_MIN: usize = 8;
/// Longer ones are somebody's file.
const BYTES_MAX: usize = 1_024;

/// Passwords that are checked at a time, each on a core and with 19 MiB: whoever sends wrong ones must not take the node's cores.
const AT_A_TIME: usize = 2;
/// Callers that wait for their turn; further ones are told to come again.
const WAITING_MAX: usize = 64;

/// Compares, a few at a time.
pub(super) struct Verifier {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Verifier {
    pub(super) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), waiting: AtomicUsize::new(0) }
    }

    /// Whether it is the password of that hash. Without a hash it is not, and takes as long: nobody learns who is a user.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait.
    pub(super) async fn verify(
        &self,
        password: Vec<u8>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Refusal> {
        let _waiting = Waiting::begin(&self.waiting)?;
        let stopping = || Refusal::new(Reason::Unavailable, "the node is stopping");
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| stopping())?;
        let compared = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = hash.is_some();
            let hash = hash.map_or_else(nobody, |PasswordHash(hash)| hash);
            known & is_of(&password, &hash)
        });
        compared.await.map_err(|_| stopping())
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Result<Self, Refusal> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            let text = "too many passwords are being checked: try again in a moment";
            return Err(Refusal::new(Reason::Overloaded, text));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

pub(super) fn is_of(password: &[u8], hash: &str) -> bool {
    let Ok(hash) = argon2::password_hash::PasswordHash::new(hash) else { return false };
    // The parameters are those of the hash, as long as they cost no more than those of our own hashes.
    let is_affordable =
        |(name, most): (&str, u32)| hash.params.get_decimal(name).is_some_and(|asked| asked <= most);
    if ![("m", MEMORY_KIB), ("t", PASSES), ("p", LANES)].into_iter().all(is_affordable) {
        return false;
    }
    Argon2::default().verify_password(password, &hash).is_ok()
}

/// A hash of the same cost that is nobody's.
fn nobody() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash(b"nobody", [0; 16]).unwrap_or_default()).clone()
}

pub(super) fn hash(password: &[u8], salt: [u8; 16]) -> Option<String> {
    let salt = SaltString::encode_b64(&salt).ok()?;
    Some(argon2()?.hash_password(password, &salt).ok()?.to_string())
}

/// The hash of a new password, under a salt of its own.
///
/// # Errors
/// `INVALID_ARGUMENT` for one that is too short or too long.
pub(crate) async fn hash_of_new(password: &str, entropy: &dyn Entropy) -> Result<PasswordHash, Refusal> {
    if !(BYTES_MIN..=BYTES_MAX).contains(&password.len()) {
        let text =
            format!("the password has {} bytes; it must have {BYTES_MIN} to {BYTES_MAX}", password.len());
        return Err(Refusal::new(Reason::InvalidArgument, text));
    }
    let [low, high] = [entropy.next_u64(), entropy.next_u64()].map(u128::from);
    let salt = (low | (high << 64)).to_le_bytes();
    let password = password.as_bytes().to_vec();
    let hashed = tokio::task::spawn_blocking(move || hash(&password, salt)).await.ok().flatten();
    let failed = || Refusal::new(Reason::Unavailable, "the password was not hashed: try again");
    hashed.map(PasswordHash).ok_or_else(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    struct Counting(AtomicU64);

    impl Entropy for Counting {
        fn next_u64(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn only_the_password_of_the_hash_is_right() {
        let entropy = Counting(AtomicU64::new(1));
        let hashed = hash_of_new("correct horse", &entropy).await.unwrap();
        assert!(hashed.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.0);
        assert_ne!(hash_of_new("correct horse", &entropy).await, Ok(hashed.clone()), "each has its own salt");
        let verifier = Verifier::new();
        let is =
            async |password: &str, hash: Option<PasswordHash>| verifier.verify(password.into(), hash).await;
        assert_eq!(is("correct horse", Some(hashed.clone())).await, Ok(true));
        assert_eq!(is("correct horsf", Some(hashed)).await, Ok(false));
        assert_eq!(is("correct horse", None).await, Ok(false));
        assert_eq!(is("nobody", None).await, Ok(false));
        assert_eq!(is("x", Some(PasswordHash("nonsense".to_owned()))).await, Ok(false));
        assert_eq!(hash_of_new("short", &entropy).await.map_err(|r| r.reason), Err(Reason::InvalidArgument));
    }

    #[test]
    fn a_hash_that_asks_for_more_than_ours_do_is_of_no_password() {
        let of = |memory_kib, passes, lanes| {
            let params = Params::new(memory_kib, passes, lanes, None).unwrap();
            let salt = SaltString::encode_b64(&[7; 16]).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hash = argon2.hash_password(b"correct horse", &salt).unwrap().to_string();
            is_of(b"correct horse", &hash)
        };
        assert!(of(MEMORY_KIB, PASSES, LANES) && of(64, 1, 1));
        assert!(!of(MEMORY_KIB + 1, PASSES, LANES) && !of(64, PASSES + 1, 1) && !of(64, 1, LANES + 1));
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_told_to_come_again() {
        let verifier = Verifier::new();
        let all = futures::future::join_all((0..=WAITING_MAX).map(|_| verifier.verify(Vec::new(), None)));
        let overloaded =
            |r: &&Result<bool, Refusal>| r.as_ref().is_err_and(|r| r.reason == Reason::Overloaded);
        assert_eq!(all.await.iter().filter(overloaded).count(), 1);
        assert_eq!(verifier.verify(Vec::new(), None).await, Ok(false), "and can come again");
    }
}
