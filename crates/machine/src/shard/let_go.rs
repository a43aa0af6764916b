//! A shard to which nobody is attached, as a copy has it.

use super::{Context, Shard, Subscription, ready};

impl Shard {
    /// All consumers are gone, and what they held is ready: each message with the attempts that it has had, whatever its
    /// subscription says of the last one. Nothing is granted, given up or scheduled.
    pub(crate) fn let_go(&mut self, ctx: &mut Context<'_>) {
        self.subscriptions.values_mut().for_each(|subscription| subscription.let_go(ctx));
        self.consumers.clear();
        self.leaving.clear();
    }
}

impl Subscription {
    fn let_go(&mut self, ctx: &mut Context<'_>) {
        self.served = None;
        for position in self.leases.keys().copied().collect::<Vec<_>>() {
            if let Some(lease) = self.remove_lease(position, ctx) {
                self.ledger.redelivered += lease.count;
                self.put_ready(position, ready(&lease, lease.attempt), ctx);
            }
        }
    }
}
