//! The least of an HTTP client: the ports under test must answer anything that speaks HTTP/1.1.

use anyhow::{Context, Result};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);

/// The status code and the body of a GET from this machine.
pub async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    get_at(Ipv4Addr::LOCALHOST, port, path).await
}

/// The same from elsewhere.
pub async fn get_at(address: Ipv4Addr, port: u16, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect((address, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(LIMIT, exchange).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}
