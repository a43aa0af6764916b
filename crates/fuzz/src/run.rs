//! How a target runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long `cargo test` draws inputs for one target: there are some forty, on as many threads as the machine has cores.
/// `BOLERO_RANDOM_TEST_TIME_MS` says otherwise.
pub const TIME: Duration = Duration::from_millis(1_000);

/// Runs a target: `run!(|source, seen| …)`, in a test. It says by [`Seen`] how deep its inputs came, and fails when hardly any
/// did.
#[macro_export]
macro_rules! run {
    (|$source:ident, $seen:ident| $body:expr) => {{
        let seen = $crate::Seen::default();
        {
            let $seen = &seen;
            $crate::bolero::check!().with_test_time($crate::TIME).with_max_len(1_024).for_each(
                |input: &[u8]| {
                    let $source = &mut $crate::Source::new(input);
                    $seen.input();
                    $body
                },
            );
        }
        // A fuzzer never comes here.
        #[allow(unreachable_code, reason = "a fuzzer's run has no end")]
        seen.is_deep();
    }};
}

/// What became of a target's inputs.
#[derive(Debug, Default)]
pub struct Seen {
    inputs: AtomicU64,
    valid: AtomicU64,
    refused: AtomicU64,
    taken: AtomicU64,
}

fn add(to: &AtomicU64) {
    to.fetch_add(1, Ordering::Relaxed);
}

impl Seen {
    /// One more came.
    pub fn input(&self) {
        add(&self.inputs);
    }

    /// It made a value.
    pub fn valid(&self) {
        add(&self.valid);
    }

    /// What was damaged was taken, or refused.
    pub fn damaged(&self, taken: bool) {
        add(if taken { &self.taken } else { &self.refused });
    }

    /// Asserts that a good part of the inputs made a value, and that of what was damaged something was refused.
    pub fn is_deep(&self) {
        let [inputs, valid, refused] =
            [&self.inputs, &self.valid, &self.refused].map(|n| n.load(Ordering::Relaxed));
        // One seed that is tried again, or a corpus without more, says nothing about shares.
        if inputs >= 100 {
            assert!(8 * valid >= inputs, "most inputs are no values: {self:?}");
            assert!(refused > 0, "nothing was refused: {self:?}");
        }
    }
}
