//! A way to a node that can be paused, as a process that is stopped: connections are taken, and nothing moves.

use quorate_types::Entropy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The first of a list is chosen.
#[derive(Debug)]
pub(crate) struct First;

impl Entropy for First {
    fn next_u64(&self) -> u64 {
        0
    }
}

#[derive(Default)]
pub(crate) struct Pausing {
    paused: watch::Sender<bool>,
}

impl Pausing {
    /// Passes on to `node` what comes to the address that is returned.
    pub(crate) async fn serve(&self, node: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let paused = self.paused.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&node).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, paused.clone()));
                tokio::spawn(pass(from_server, to_client, paused.clone()));
            }
        });
        address
    }

    pub(crate) fn pause(&self) {
        self.paused.send_replace(true);
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut paused: watch::Receiver<bool>,
) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if paused.wait_for(|paused| !paused).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
