//! Connections that are open, counted where they are taken.

use futures::StreamExt;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use quorate_wire::Bound;

/// Those of one port. Clone handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    pub(super) open: Gauge,
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
}

impl Connections {
    /// The same port, with each of its connections counted until it is dropped. Beyond `max` they are closed at once: before
    /// anything is read from them, so that they cost nothing, and their clients go to another node.
    pub(crate) fn counted(&self, bound: Bound, max: usize) -> Bound {
        let this = self.clone();
        let incoming = bound.incoming.filter_map(move |taken| {
            std::future::ready(match taken {
                Ok(connection) => this.one(max).map(|one| Ok(connection.holding(one))),
                Err(error) => Some(Err(error)),
            })
        });
        Bound { address: bound.address, incoming: incoming.boxed() }
    }

    /// Counts one more, if there may be one.
    fn one(&self, max: usize) -> Option<One> {
        if usize::try_from(self.open.get()).is_ok_and(|open| open >= max) {
            self.refused.inc();
            return None;
        }
        self.accepted.inc();
        self.open.inc();
        Some(One(self.open.clone()))
    }
}

/// One open connection.
struct One(Gauge);

impl Drop for One {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use quorate_wire::Connection;
    use std::net::SocketAddr;

    #[tokio::test]
    async fn beyond_the_limit_a_connection_is_closed_at_once_and_taken_again_when_another_is_gone() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let (near, far): (Vec<_>, Vec<_>) = (0..4).map(|_| tokio::io::duplex(8)).unzip();
        let incoming = stream::iter(near).map(move |io| Ok(Connection::new(io, address))).boxed();
        let connections = Connections::default();
        let mut counted = connections.counted(Bound { address, incoming }, 2).incoming;
        let first = counted.next().await.unwrap().unwrap();
        let second = counted.next().await.unwrap().unwrap();
        assert_eq!(connections.open.get(), 2);
        drop(first);
        let third = counted.next().await.unwrap().unwrap();
        assert!(counted.next().await.is_none(), "the fourth is one too many");
        assert_eq!((connections.open.get(), connections.refused.get()), (2, 1));
        drop((second, third, far));
        assert_eq!((connections.open.get(), connections.accepted.get()), (0, 3));
    }
}
