//! `/metrics`, `/healthz`, `/startupz`, `/readyz`.

use crate::core::Core;
use crate::figures::{Figures, SHOWN_MAX};
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use futures::stream::BoxStream;
use quorate_wire::{Bound, Connection};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) metrics: Arc<Metrics>,
    /// Set once the node belongs to a cluster.
    pub(crate) core: Arc<OnceLock<Core>>,
    /// The data directory belonged to a cluster when this process started: there is something to recover.
    pub(crate) returning: bool,
}

/// Serves until stopped.
pub(crate) async fn serve(bound: Bound, pages: Pages, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/startupz", get(started))
        .route("/readyz", get(ready))
        .with_state(pages);
    let listener = Incoming { address: bound.address, incoming: bound.incoming };
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP pages are not served any more");
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let figures = pages.core.get().map(|core| Figures::of(core, SHOWN_MAX));
    match pages.metrics.render(figures) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// 200 when what this node has on its disk is recovered, else 503 and what is not. It waits for nobody else: a cluster that
/// cannot form, or a majority that is away, is no reason to start this process again.
async fn started(State(pages): State<Pages>) -> Response {
    let missing = match pages.core.get() {
        Some(core) => core.recovering(),
        None if pages.returning => Some("group 0 is being recovered".to_owned()),
        None => None,
    };
    answer("started", missing)
}

/// 200 when this node serves as a voter of all its groups, else 503 and why not.
async fn ready(State(pages): State<Pages>) -> Response {
    let unready = match pages.core.get() {
        Some(core) => core.unready(),
        None => Some("the node does not belong to a cluster yet".to_owned()),
    };
    answer("ready", unready)
}

fn answer(good: &str, missing: Option<String>) -> Response {
    match missing {
        None => format!("{good}\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// The seam's connections, as axum takes them.
struct Incoming {
    address: SocketAddr,
    incoming: BoxStream<'static, io::Result<Connection>>,
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.incoming.next().await {
                Some(Ok(connection)) => return (connection, self.address),
                Some(Err(error)) => tracing::debug!(%error, "a connection was not taken"),
                // Never ends by contract; if it does, nobody connects any more.
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that has not found its cluster yet.
    async fn before_a_cluster(returning: bool) -> (StatusCode, StatusCode) {
        let pages =
            Pages { metrics: Arc::new(Metrics::new(Vec::new())), core: Arc::new(OnceLock::new()), returning };
        (started(State(pages.clone())).await.status(), ready(State(pages)).await.status())
    }

    #[tokio::test]
    async fn new_node_has_started_before_it_is_ready_and_one_with_groups_only_when_they_run() {
        assert_eq!(before_a_cluster(false).await, (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
        let both = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(before_a_cluster(true).await, both);
    }
}
