//! Pauses between attempts.

use quorate_types::Entropy;
use std::sync::Arc;
use std::time::Duration;

/// The first pause: about one round trip to another node.
const FIRST: Duration = Duration::from_millis(50);
/// The longest: an election takes a few seconds, and who waits much longer than it misses its end.
const LONGEST: Duration = Duration::from_secs(2);

/// Doubling pauses with jitter, so that the clients of a node that died do not come to the next one all at once.
pub(crate) struct Backoff {
    entropy: Arc<dyn Entropy>,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, next: FIRST }
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next pause: between half of its full length and all of it.
    pub(crate) fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        let half = u64::try_from((full / 2).as_micros()).unwrap_or(u64::MAX).max(1);
        full / 2 + Duration::from_micros(self.entropy.next_u64() % half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);
    impl Entropy for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Arc::new(Fixed(0)));
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause()).collect();
        assert_eq!(pauses[0], FIRST / 2);
        assert_eq!(pauses[1], FIRST);
        assert_eq!(pauses[7], LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.pause(), FIRST / 2);
        let mut late = Backoff::new(Arc::new(Fixed(u64::MAX)));
        assert!(late.pause() <= FIRST);
    }
}
