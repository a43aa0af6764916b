//! A message is stored once, however often its publish was sent.

use super::Violation;
use super::history::{History, Uid};

/// A message was seen at an offset of its topic.
pub(super) fn place(history: &mut History, offset: u64, uid: Uid) -> Result<(), Violation> {
    let Some(message) = history.messages.get_mut(&uid) else { return Ok(()) };
    let before = *message.offset.get_or_insert(offset);
    if before == offset {
        return Ok(());
    }
    let what = format!("message {} is stored at offset {before} and at {offset}", uid.0);
    Err(Violation::new("duplicates", what))
}
