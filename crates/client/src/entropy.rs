//! Where randomness comes from when the caller brings none.

use quorate_types::Entropy;
use rand::Rng;

/// The operating system's randomness. The client uses it to spread reconnects and to choose a first node.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}
