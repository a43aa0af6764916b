//! Whether who publishes may, topic by topic.

use super::commit;
use crate::auth::Checked;
use quorate_types::Permission::{Consume, Publish};
use quorate_types::Refusal;
use quorate_wire::v1;

/// The topics of a request, by their place in it, to which the caller may not publish, and why.
pub(super) type Denied = Vec<(usize, Refusal)>;

/// # Errors
/// When the whole request is refused: a commit, of which the caller may not settle a part.
pub(super) fn denied(caller: &mut Checked, request: &v1::PublishRequest) -> Result<Denied, Refusal> {
    if caller.is_open() {
        return Ok(Denied::new());
    }
    let namespace = &request.namespace;
    for settle in request.commit.iter().flat_map(|commit| &commit.settles) {
        caller.check(Consume, namespace, &settle.subscription)?;
    }
    // One that only settles names no topic.
    if request.commit.is_some() && !commit::publishes(request) {
        return Ok(Denied::new());
    }
    // What is no text is no topic, and is refused as such by whoever may publish to all of them.
    let more = request.more.iter().map(|more| std::str::from_utf8(&more.topic).unwrap_or_default());
    let topics = std::iter::once(request.topic.as_str()).chain(more);
    let check = |(at, topic)| Some((at, caller.check(Publish, namespace, topic).err()?));
    Ok(topics.enumerate().filter_map(check).collect())
}
