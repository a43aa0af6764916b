//! A network in memory.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use quorate_wire::{AddressError, ChannelOptions, Connect, Connection, endpoint};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::transport::Channel;

/// Bytes under way on one connection in one direction.
const BUFFER: usize = 256 << 10;

/// Who listens on which address.
#[derive(Clone, Default)]
pub struct Hub {
    listeners: Arc<Mutex<BTreeMap<String, UnboundedSender<io::Result<Connection>>>>>,
}

impl Hub {
    /// Takes an address; whoever had it loses it.
    pub fn listen(&self, address: &str) -> BoxStream<'static, io::Result<Connection>> {
        let (listener, connections) = unbounded_channel();
        self.listeners.lock().unwrap().insert(address.to_owned(), listener);
        futures::stream::unfold(connections, |mut connections| async move {
            connections.recv().await.map(|connection| (connection, connections))
        })
        .boxed()
    }

    pub fn close(&self, address: &str) {
        self.listeners.lock().unwrap().remove(address);
    }

    fn dial(&self, address: &str) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listeners = self.listeners.lock().unwrap();
        let listener = listeners.get(address).ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(BUFFER);
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        listener.send(Ok(Connection::new(far, from))).map_err(|_| refused())?;
        Ok(near)
    }
}

impl Connect for Hub {
    fn channel(&self, address: &str, options: &ChannelOptions) -> Result<Channel, AddressError> {
        let (hub, to) = (self.clone(), address.to_owned());
        let dial = tower::service_fn(move |_| {
            let dialled = hub.dial(&to).map(TokioIo::new);
            async move { dialled }
        });
        Ok(endpoint(address, options)?.connect_with_connector_lazy(dial))
    }

    fn probe<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.dial(address).map(drop) })
    }
}
