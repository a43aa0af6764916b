//! What a node answers on its ports, whoever asks.

use crate::harness::{Cluster, get, run, until};
use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_healthz_startupz_and_readyz_answer() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    let port = cluster.nodes[0].ports.http;
    for path in ["/healthz", "/startupz", "/readyz"] {
        let (status, _) = get(port, path).await?;
        assert_eq!(status, 200, "{path}");
    }
    let (status, metrics) = get(port, "/metrics").await?;
    assert_eq!(status, 200);
    ensure!(metrics.contains("# TYPE quorate_"), "metrics in the Prometheus text format:\n{metrics}");
    let (status, _) = get(port, "/no-such-page").await?;
    assert_eq!(status, 404);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_the_others_has_started_and_is_not_ready() -> Result<()> {
    let mut cluster = Cluster::new(3)?;
    cluster.nodes[0].start()?;
    let port = cluster.nodes[0].ports.http;
    let (status, _) = until("the pages to be served", async || get(port, "/startupz").await).await?;
    assert_eq!(status, 200, "nothing is on its disk, so nothing has to be recovered");
    assert_eq!(get(port, "/healthz").await?.0, 200);
    let page = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    let unready = run(&["health", "--url", &page("readyz")]).await?;
    assert_eq!(unready.code, Some(3), "{unready:?}");
    ensure!(unready.stderr.contains("does not belong to a cluster yet"), "it says why: {unready:?}");
    assert_eq!(run(&["health", "--url", &page("healthz")]).await?.code, Some(0));

    for node in &mut cluster.nodes[1..] {
        node.start()?;
    }
    cluster.wait_ready().await?;
    assert_eq!(run(&["health", "--url", &page("readyz")]).await?.code, Some(0));
    cluster.nodes[0].kill().await?;
    cluster.nodes[0].start()?;
    cluster.wait_ready().await?;
    assert_eq!(get(port, "/startupz").await?.0, 200, "what it had is recovered");
    cluster.finish().await
}

/// What programs that mean something else, or nothing good, send first.
const GARBAGE: &[&[u8]] = &[
    b"",
    b"\0\0\0\0\0\0\0\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"AMQP\0\0\x09\x01",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    // The preface of HTTP/2, then a frame that claims 16 MiB, then one of an unknown kind.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\xff\0\x7f\xff\xff\xffgarbage!",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_any_port_does_not_harm_a_node() -> Result<()> {
    let mut cluster = Cluster::start(1).await?;
    cluster.topic("orders").await?;
    for port in cluster.nodes[0].ports.all() {
        for garbage in GARBAGE {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            // The node may close before it has read everything: that is an answer.
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        }
    }
    cluster.wait_ready().await?;
    cluster.client(0)?.describe_topic("orders").await?;
    cluster.finish().await
}
