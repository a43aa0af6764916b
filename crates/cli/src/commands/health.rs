//! `quorate health`: the check of a container that has neither a shell nor curl.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EXAMPLES: &str = "\
Examples:
  quorate health                                            whether the node on this machine serves
  quorate health --url http://127.0.0.1:7431/healthz        whether its process works";

/// The answer is a line or two; more is cut.
const ANSWER_BYTES_MAX: u64 = 4096;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    /// The page to ask.
    #[arg(
        long,
        value_name = "URL",
        env = "QUORATE_HEALTH_URL",
        default_value = "http://127.0.0.1:7431/readyz"
    )]
    url: String,
    /// A node that takes longer to answer is not healthy.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: HealthArgs, output: Output) -> Result<(), Failure> {
    let (address, path) = parts(&args.url)?;
    let silent = |why: String| Failure::Unhealthy { url: args.url.clone(), why };
    let answer = tokio::time::timeout(args.timeout, get(address, path)).await;
    let answer = answer.map_err(|_| silent(format!("no answer within {:?}", args.timeout)))?;
    let answer = answer.map_err(|error| silent(error.to_string()))?;
    match read_answer(&answer) {
        (Some(200), said) => output.result(said, &json!({ "url": args.url, "answer": said })),
        (Some(_), said) => Err(silent(said.to_owned())),
        (None, _) => Err(silent("the answer is not HTTP".to_owned())),
    }
}

/// `HOST:PORT` and the path of a URL.
fn parts(url: &str) -> Result<(&str, &str), Failure> {
    let rest = url.strip_prefix("http://");
    let parts = rest.map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let has_port = |address: &str| address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    match parts {
        Some((address, path)) if has_port(address) => Ok((address, if path.is_empty() { "/" } else { path })),
        _ => Err(Failure::Usage(format!("{url:?} is not http://HOST:PORT/PATH"))),
    }
}

async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status, and what was said.
fn read_answer(answer: &str) -> (Option<u16>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    (status.and_then(|s| s.parse().ok()), body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_taken_apart() {
        assert_eq!(parts("http://127.0.0.1:7431/readyz").unwrap(), ("127.0.0.1:7431", "/readyz"));
        assert_eq!(parts("http://[::1]:80").unwrap(), ("[::1]:80", "/"));
        for bad in ["", "127.0.0.1:1/x", "https://a:1/x", "http://a/x", "http://a:99999/x"] {
            assert!(matches!(parts(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read_answer("HTTP/1.1 200 OK\r\na: b\r\n\r\nready\n"), (Some(200), "ready"));
        let unready = "HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n";
        assert_eq!(read_answer(unready), (Some(503), "no leader"));
        for other in ["", "SSH-2.0-x", "HTTP/1.1 abc"] {
            assert_eq!(read_answer(other).0, None, "{other}");
        }
    }
}
