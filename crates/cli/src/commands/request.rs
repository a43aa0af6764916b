//! `quorate request`

use super::consume::{content_document, raw_line};
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use quorate_client::Message;
use serde_json::{Map, Value};

const EXAMPLES: &str = "\
Publishes the request as any other message and prints the reply. The reply is not stored: when none comes within --timeout, the \
request may have been processed all the same.

Examples:
  quorate request questions 'six times nine'
  quorate consume questions --reply-with 42          in another terminal: answers";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RequestArgs {
    /// Where to.
    topic: String,
    /// The content.
    message: String,
    /// Routing key: words separated by dots.
    #[arg(long, short, default_value = "")]
    subject: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: RequestArgs, output: Output) -> Result<(), Failure> {
    let client = connect(&args.client).await?;
    let message = Message::new(args.message).subject(args.subject);
    let reply = client.request(&args.topic, message, args.client.timeout).await?;
    if output.is_json() {
        let mut document = Map::new();
        content_document(&mut document, &reply);
        return output.document(&Value::Object(document));
    }
    output.bytes(&raw_line(&reply))
}
