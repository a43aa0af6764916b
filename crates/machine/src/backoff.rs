//! How long a message waits after an attempt that failed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a message waits before it is delivered again, when its lease ended by a nack or by its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Nothing: it is ready at once.
    #[default]
    None,
    /// The same after each attempt.
    Fixed {
        /// So long.
        delay: Duration,
    },
    /// `step` after the first attempt, twice that after the second, and so on.
    Linear {
        /// What each attempt adds.
        step: Duration,
        /// Never longer than this.
        max: Duration,
    },
    /// `first` after the first attempt, then twice as long each time.
    Exponential {
        /// After the first attempt.
        first: Duration,
        /// Never longer than this.
        max: Duration,
    },
}

impl Backoff {
    /// No message waits longer, whoever asks for it: what is to be done in more than a week belongs into a calendar, and keeps
    /// its block for so long.
    pub const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// What is waited after this attempt, counted from 1.
    #[must_use]
    pub fn after(self, attempt: u32) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed { delay } => delay,
            Self::Linear { step, max } => step.saturating_mul(attempt.max(1)).min(max),
            Self::Exponential { first, max } => {
                let doublings = attempt.saturating_sub(1);
                // Beyond 2^31 times the shortest delay every cap is reached.
                first.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(max)
            }
        }
    }

    /// Whether its numbers make sense; if not, what is wrong with them.
    pub(crate) fn check(self) -> Result<(), String> {
        let (first, max) = match self {
            Self::None => return Ok(()),
            Self::Fixed { delay } => (delay, delay),
            Self::Linear { step: first, max } | Self::Exponential { first, max } => (first, max),
        };
        let (first_ms, max_ms, limit_ms) = (first.as_millis(), max.as_millis(), Self::DELAY_MAX.as_millis());
        if first_ms == 0 {
            return Err("begins with less than 1 ms: choose a longer delay, or no backoff".to_owned());
        }
        if max < first {
            return Err(format!(
                "is capped at {max_ms} ms, less than its first delay of {first_ms} ms: choose a higher cap"
            ));
        }
        if max > Self::DELAY_MAX {
            return Err(format!(
                "goes up to {max_ms} ms; the limit is {limit_ms} (7 days): choose a lower cap"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delays_grow_as_they_are_said_to_and_stop_at_the_cap() {
        let delays = |backoff: Backoff| [1, 2, 3, 4].map(|attempt| backoff.after(attempt).as_millis());
        assert_eq!(delays(Backoff::None), [0; 4]);
        assert_eq!(delays(Backoff::Fixed { delay: ms(7) }), [7; 4]);
        assert_eq!(delays(Backoff::Linear { step: ms(10), max: ms(35) }), [10, 20, 30, 35]);
        assert_eq!(delays(Backoff::Exponential { first: ms(10), max: ms(75) }), [10, 20, 40, 75]);
    }

    #[test]
    fn no_number_of_attempts_is_too_high_and_none_makes_a_delay_shorter() {
        let (first, max) = (ms(1), Backoff::DELAY_MAX);
        for backoff in [Backoff::Linear { step: first, max }, Backoff::Exponential { first, max }] {
            let delays: Vec<Duration> =
                (0..40).chain([1 << 20, u32::MAX]).map(|attempt| backoff.after(attempt)).collect();
            assert!(delays.is_sorted(), "{backoff:?}: {delays:?}");
            assert_eq!(delays.last(), Some(&max));
        }
    }

    #[test]
    fn delays_of_nothing_caps_below_the_first_and_weeks_are_refused() {
        let checks = [
            Backoff::Fixed { delay: ms(0) },
            Backoff::Fixed { delay: Backoff::DELAY_MAX + ms(1) },
            Backoff::Linear { step: ms(0), max: ms(5) },
            Backoff::Linear { step: ms(5), max: ms(4) },
            Backoff::Exponential { first: ms(5), max: ms(4) },
            Backoff::Exponential { first: ms(5), max: Duration::MAX },
        ];
        assert!(checks.iter().all(|backoff| backoff.check().is_err()));
        for backoff in
            [Backoff::None, Backoff::Fixed { delay: ms(1) }, Backoff::Linear { step: ms(5), max: ms(5) }]
        {
            assert_eq!(backoff.check(), Ok(()));
        }
    }
}
