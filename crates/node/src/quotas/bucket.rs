//! What may go through in a second: a bucket that fills steadily and holds one second's worth.

use std::time::Duration;
use tokio::time::Instant;

/// How much the bucket holds: so much may come at once after a pause.
const HOLDS: Duration = Duration::from_secs(1);

/// Kept as the time at which all that was taken would have gone through at the rate (the generic cell rate algorithm): one
/// number, exact for any rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    through: Option<Instant>,
}

impl Bucket {
    /// How long to wait before anything may be taken; zero: now. Whoever may take anything may take any amount, so that what is
    /// larger than the bucket goes through, too: who comes next waits for it.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.through.map_or(Duration::ZERO, |at| at.saturating_duration_since(now).saturating_sub(HOLDS))
    }

    /// Takes so much, of what comes at `per_second`, which is not 0.
    pub(super) fn take(&mut self, amount: u64, per_second: u64, now: Instant) {
        let from = self.through.map_or(now, |at| at.max(now));
        // Ten years are beyond all patience, and within what an instant can hold.
        const LONGEST: Duration = Duration::from_secs(315_360_000);
        let rate = per_second.max(1);
        let nanos = u128::from(amount % rate) * 1_000_000_000 / u128::from(rate);
        let rest = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let took = Duration::from_secs(amount / rate).saturating_add(rest).min(LONGEST);
        self.through = from.checked_add(took).or(self.through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_come_at_once_and_the_rest_at_the_rate() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let at = |ms: u64| now + Duration::from_millis(ms);
        for _ in 0..=10 {
            assert_eq!(bucket.wait(now), Duration::ZERO);
            bucket.take(1, 10, now);
        }
        assert_eq!(bucket.wait(now), Duration::from_millis(100));
        assert_eq!((bucket.wait(at(99)), bucket.wait(at(100))), (Duration::from_millis(1), Duration::ZERO));
        bucket.take(1, 10, at(100));
        assert_eq!(bucket.wait(at(100)), Duration::from_millis(100));
        // After a pause there is a second's worth again, not more.
        assert_eq!(bucket.wait(at(60_000)), Duration::ZERO);
        bucket.take(25, 10, at(60_000));
        assert_eq!(bucket.wait(at(60_000)), Duration::from_millis(1_500));
    }

    #[test]
    fn over_any_time_no_more_goes_through_than_the_rate_and_a_second() {
        let (mut bucket, begun) = (Bucket::default(), Instant::now());
        let (mut now, mut taken) = (begun, 0);
        while now < begun + Duration::from_secs(30) {
            now += bucket.wait(now);
            bucket.take(7, 1_000, now);
            taken += 7;
        }
        assert!((30_000..=31_014).contains(&taken), "{taken}");
    }

    #[test]
    fn no_amount_overflows() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        for _ in 0..3 {
            bucket.take(u64::MAX, 1, now);
            bucket.take(u64::MAX, u64::MAX, now);
        }
        assert!(bucket.wait(now) > Duration::from_secs(1_000_000));
    }
}
