//! One row per subscription. Its messages are in pages; what is ready, leased and delayed is counted from them.

use crate::codec::{DecodeError, counted, decode_row, encode_row};
use crate::config::SubscriptionConfig;
use crate::ledger::Ledger;
use crate::shard::Subscription;
use quorate_types::{ConsumerId, SubscriptionId, SubscriptionName};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRow {
    name: SubscriptionName,
    config: SubscriptionConfig,
    ledger: Ledger,
    backlog_bytes: u64,
    next_position: u64,
    doomed: bool,
    purge_below: u64,
    purge_leases: bool,
    went_back: u64,
    served: Option<ConsumerId>,
    attached: u64,
}

pub(crate) fn encode(subscription: &Subscription) -> Vec<u8> {
    encode_row(&SubscriptionRow {
        name: subscription.name.clone(),
        config: subscription.config.clone(),
        ledger: Ledger { ready: 0, leased: 0, delayed: 0, ..subscription.ledger },
        backlog_bytes: subscription.backlog_bytes,
        next_position: subscription.next_position,
        doomed: subscription.doomed,
        purge_below: subscription.purge_below,
        purge_leases: subscription.purge_leases,
        went_back: subscription.went_back,
        served: subscription.served,
        attached: subscription.attached,
    })
}

pub(crate) fn decode(id: SubscriptionId, bytes: &[u8]) -> Result<Subscription, DecodeError> {
    let row: SubscriptionRow = decode_row(bytes)?;
    let Ledger { routed, redelivered, .. } = row.ledger;
    counted(&[row.next_position, row.went_back, row.attached, row.backlog_bytes, routed, redelivered])?;
    Ok(Subscription {
        ledger: Ledger { ready: 0, leased: 0, delayed: 0, ..row.ledger },
        backlog_bytes: row.backlog_bytes,
        next_position: row.next_position,
        doomed: row.doomed,
        purge_below: row.purge_below,
        purge_leases: row.purge_leases,
        went_back: row.went_back,
        served: row.served,
        attached: row.attached,
        ..Subscription::new(id, row.name, row.config)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SubscriptionKind;
    use quorate_types::SessionId;

    #[test]
    fn round_trip() {
        let name = SubscriptionName::parse("billing").unwrap();
        let config = SubscriptionConfig { kind: SubscriptionKind::Failover, ..SubscriptionConfig::default() };
        let mut subscription = Subscription::new(SubscriptionId::new(4), name, config);
        (subscription.attached, subscription.backlog_bytes) = (1 << 40, 1 << 50);
        subscription.ledger = Ledger { routed: 10, acked: 10, ..Ledger::default() };
        (subscription.next_position, subscription.doomed, subscription.purge_below) = (10, true, 5);
        (subscription.purge_leases, subscription.went_back) = (true, 300);
        subscription.served = Some(ConsumerId { session: SessionId::new(1), number: 2 });
        assert_eq!(decode(subscription.id, &encode(&subscription)), Ok(subscription));
    }
}
