//! What a message asks for beside where it goes.

use quorate_machine::{KeyHash, MessageOptions};
use quorate_types::{Millis, Reason, Refusal};
use quorate_wire::MessageView;

/// What matters when a message is published.
///
/// # Errors
/// As [`options_of`].
pub(crate) fn options_to_publish(view: &MessageView<'_>) -> Result<MessageOptions, Refusal> {
    let message_id = KeyHash::of(view.message_id.as_bytes());
    let tombstone = !view.key.is_empty() && view.payload.is_empty();
    Ok(MessageOptions { message_id, tombstone, ..options_of(view)? })
}

/// What matters whenever a message is routed.
///
/// # Errors
/// `INVALID_ARGUMENT` for a priority that there is none of. The rest is for the machine to judge, which knows the time.
pub(crate) fn options_of(view: &MessageView<'_>) -> Result<MessageOptions, Refusal> {
    let (max, asked) = (MessageOptions::PRIORITY_MAX, view.priority);
    let priority = u8::try_from(asked).ok().filter(|priority| *priority <= max).ok_or_else(|| {
        Refusal::new(Reason::InvalidArgument, format!("the priority is {asked}; the highest is {max}"))
    })?;
    Ok(MessageOptions {
        key: KeyHash::of(view.key),
        priority,
        ttl_ms: view.ttl_ms,
        deliver_at: Millis::new(view.deliver_at_ms),
        delay_ms: view.delay_ms,
        ..MessageOptions::default()
    })
}
