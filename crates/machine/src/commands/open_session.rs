//! A client starts a conversation.

use crate::applied::{Answer, Reply};
use crate::machine::Machine;
use crate::sessions::Party;
use crate::shard::Context;
use quorate_types::{Reason, Refusal};
use std::time::Duration;

/// A client's session lives at least so long: less would expire between two operations of a slow client.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// …and at most so long after its last operation: forgotten sessions keep their answers.
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl Machine {
    /// A timeout outside the bounds becomes the nearest bound.
    pub(crate) fn open_session(&mut self, timeout: Duration, ctx: &mut Context<'_>) -> Reply {
        self.check_sessions(ctx)?;
        let timeout = timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        let session = self.sessions.open(Party::Client { timeout }, ctx.now, ctx.dirty);
        Ok(Answer::SessionOpened { session })
    }

    /// Whether there is room for one more.
    pub(super) fn check_sessions(&self, ctx: &Context<'_>) -> Result<(), Refusal> {
        let max = ctx.limits.sessions_max;
        if self.sessions.len() < max as usize {
            return Ok(());
        }
        let text = format!(
            "the number of sessions reached the limit of {max}: close some, or wait until idle ones expire"
        );
        Err(Refusal::new(Reason::LimitReached, text))
    }
}
