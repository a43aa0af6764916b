//! A group decides by a newer version of the machine from here on.

use super::invalid;
use crate::applied::{Answer, Reply};
use crate::batch::Batch;
use crate::machine::Machine;
use crate::op::Op;
use crate::rows::RowKey;
use crate::shard::Context;
use quorate_types::probe;
use thiserror::Error;

/// An entry after which the group decides by a version that this program does not know. Its replica must not go on: it would
/// decide otherwise than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the group decides by version {needed} of the machine, and this program knows up to {known}: run a newer quorate"
)]
pub struct TooOld {
    /// What the group decides by.
    pub needed: u32,
    /// The newest that is known.
    pub known: u32,
}

impl Batch {
    /// Whether a program that knows the machine up to version `known` can apply it.
    ///
    /// # Errors
    /// [`TooOld`] where it cannot.
    pub fn check_version(&self, known: u32) -> Result<(), TooOld> {
        let raised = self.ops.iter().filter_map(|envelope| match envelope.op {
            Op::RaiseVersion { to } => Some(to),
            _ => None,
        });
        let needed = raised.max().unwrap_or_default();
        if needed <= known { Ok(()) } else { Err(TooOld { needed, known }) }
    }
}

impl Machine {
    /// A lower version, or the same, changes nothing: two leaders may have meant the same.
    pub(crate) fn raise_version(&mut self, to: u32, ctx: &mut Context<'_>) -> Reply {
        if to > Self::VERSION {
            return Err(invalid(format!(
                "there is no version {to} of the machine: the newest known is {}",
                Self::VERSION
            )));
        }
        if to > self.version() {
            probe::sometimes("machine version raised");
            self.set_version(to);
            ctx.touch(RowKey::Meta);
        }
        Ok(Answer::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Envelope, Origin};
    use bytes::Bytes;
    use quorate_types::Millis;

    #[test]
    fn an_entry_that_raises_the_version_beyond_what_is_known_cannot_be_applied() {
        let batch = |versions: &[u32]| {
            let envelope = |to: &u32| Envelope { origin: Origin::Leader, op: Op::RaiseVersion { to: *to } };
            let ops = versions.iter().map(envelope).collect();
            Batch { stamp: Millis::default(), ops, block: Bytes::new() }
        };
        assert_eq!(batch(&[]).check_version(1), Ok(()));
        assert_eq!(batch(&[1, 3, 2]).check_version(3), Ok(()));
        assert_eq!(batch(&[1, 3, 2]).check_version(2), Err(TooOld { needed: 3, known: 2 }));
    }
}
