//! One row per stretch of positions of a subscription: the runs, leases and delayed runs that begin in it.

use crate::codec::{DecodeError, decode_row, encode_row};
use crate::shard::{Delayed, Lease, Ready, Subscription};
use serde::{Deserialize, Serialize};

/// Positions of one row. At worst each is a lease of its own, of up to 90 bytes: the row stays within 64 KiB.
pub(crate) const POSITIONS_PER_PAGE: u64 = 512;

/// Runs, leases and delayed runs, by their first positions counted from the beginning of the page.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) ready: Vec<(u16, Ready)>,
    pub(crate) leases: Vec<(u16, Lease)>,
    pub(crate) delayed: Vec<(u16, Delayed)>,
}

/// The page of a subscription with this number; `None` when nothing begins in it.
pub(crate) fn encode(subscription: &Subscription, page: u64) -> Option<Vec<u8>> {
    let from = page.checked_mul(POSITIONS_PER_PAGE)?;
    let range = from..=from.saturating_add(POSITIONS_PER_PAGE - 1);
    let place = |position: &u64| u16::try_from(position - from).ok();
    let row = Page {
        ready: subscription.ready.range(range.clone()).filter_map(|(p, r)| Some((place(p)?, *r))).collect(),
        leases: subscription.leases.range(range.clone()).filter_map(|(p, l)| Some((place(p)?, *l))).collect(),
        delayed: subscription.delayed.range(range).filter_map(|(p, d)| Some((place(p)?, *d))).collect(),
    };
    (!row.ready.is_empty() || !row.leases.is_empty() || !row.delayed.is_empty()).then(|| encode_row(&row))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Page, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SubscriptionConfig;
    use crate::options::{KeyHash, Label};
    use quorate_types::{ConsumerId, Millis, SessionId, SubscriptionId, SubscriptionName, TopicId};

    fn subscription() -> Subscription {
        let name = SubscriptionName::parse("s").unwrap();
        Subscription::new(SubscriptionId::new(1), name, SubscriptionConfig::default())
    }

    fn lease(offset: u64) -> Lease {
        Lease {
            topic: TopicId::new(u64::from(u32::MAX)),
            offset,
            count: 1,
            attempt: 3,
            consumer: ConsumerId { session: SessionId::new(u64::from(u32::MAX)), number: u64::MAX },
            deadline: Millis::new(1 << 42),
            granted_before: u64::MAX - 2,
            label: label(),
        }
    }

    fn label() -> Label {
        Label { key: KeyHash::of(b"k"), priority: 9, expires: Millis::new(1 << 42) }
    }

    #[test]
    fn round_trip() {
        let mut subscription = subscription();
        let run = Ready { topic: TopicId::new(7), offset: 9, count: 1 << 33, attempts: 2, label: label() };
        subscription.ready.insert(POSITIONS_PER_PAGE + 3, run);
        subscription.leases.insert(POSITIONS_PER_PAGE, lease(5));
        let delayed = Delayed { run, due: Millis::new(1 << 41) };
        subscription.delayed.insert(2 * POSITIONS_PER_PAGE, delayed);
        let page = decode(&encode(&subscription, 1).unwrap()).unwrap();
        assert_eq!(page, Page { ready: vec![(3, run)], leases: vec![(0, lease(5))], delayed: vec![] });
        let page = decode(&encode(&subscription, 2).unwrap()).unwrap();
        assert_eq!(page, Page { ready: vec![], leases: vec![], delayed: vec![(0, delayed)] });
        assert_eq!((encode(&subscription, 0), encode(&subscription, 3)), (None, None));
    }

    #[test]
    fn the_fullest_page_fits_a_row_of_the_store() {
        let mut subscription = subscription();
        subscription.leases.extend((0..POSITIONS_PER_PAGE).map(|p| (p, lease(u64::MAX - p))));
        assert!(encode(&subscription, 0).unwrap().len() <= 64 << 10);
    }
}
