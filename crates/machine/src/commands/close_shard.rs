//! Closes an empty shard: its namespace is about to be deleted.

use crate::applied::{Answer, Reply};
use crate::rows::RowKey;
use crate::shard::{Closing, Context, Shard};
use quorate_types::{Reason, Refusal};

impl Shard {
    /// Repeated: done, and nothing changes. What was opened at a later revision stays open: this one comes late.
    pub(crate) fn close(&mut self, revision: u64, ctx: &mut Context<'_>) -> Reply {
        if revision < self.closing.revision {
            let text = format!(
                "it was created again at revision {}, after its deletion began at revision {revision}: delete it again if it is to go",
                self.closing.revision
            );
            return Err(Refusal::new(Reason::NamespaceChanged, text));
        }
        let (topics, subscriptions) = (self.topic_names.len(), self.subscription_names.len());
        if topics > 0 || subscriptions > 0 {
            let text = format!("it has {topics} topics and {subscriptions} subscriptions: delete them first");
            return Err(Refusal::new(Reason::NamespaceNotEmpty, text));
        }
        // Time alone ends this, so it is not refused for good.
        if !self.topics.is_empty() || !self.subscriptions.is_empty() {
            let text = "what was deleted in it is still being taken out: delete it again in a moment";
            return Err(Refusal::new(Reason::NotReady, text));
        }
        self.closing = Closing { revision, is_closed: true };
        ctx.touch(RowKey::Closing);
        Ok(Answer::Done)
    }
}
