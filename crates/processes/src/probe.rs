//! Asks a node whether it serves, through its own http port.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What `/readyz` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// 200: the node serves.
    Ready,
    /// Another status; the body says what is missing.
    NotReady(String),
    /// No answer in time, or nobody listens.
    Silent,
}

/// A node that takes longer to answer a probe is not ready.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The answer is a line or two; more is cut.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks once.
pub(crate) async fn probe(port: u16) -> Probe {
    match tokio::time::timeout(TIMEOUT, get_ready(port)).await {
        Ok(Ok(answer)) => read_answer(&answer),
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

async fn get_ready(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn read_answer(answer: &str) -> Probe {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    match status {
        "200" => Probe::Ready,
        "" => Probe::Silent,
        _ => Probe::NotReady(body.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read_answer("HTTP/1.1 200 OK\r\n\r\nok"), Probe::Ready);
        assert_eq!(
            read_answer("HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n"),
            Probe::NotReady("no leader".to_owned())
        );
        assert_eq!(read_answer(""), Probe::Silent);
    }
}
