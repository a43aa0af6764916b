//! `quorate move`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use clap::Args;
use futures::stream::{FuturesUnordered, StreamExt};
use quorate_client::{
    Commit, Consumer, ConsumerOptions, Delivery, PublishError, Publisher, PublisherOptions, Reason,
};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Without `--idle`: looked at so often, in vain.
const FAR: Duration = Duration::from_secs(3_600);

const EXAMPLES: &str = "\
Each message is published to the topic and acked in one step: it is moved exactly once, whoever dies meanwhile, this
command or any node. It keeps its subject, key, headers, id and payload. Runs until Ctrl-C, or until --count or --idle
says so; several at once share the work.

Examples:
  quorate move failed orders --idle 2s               give what failed another try
  quorate move packing archive                       as a worker, for ever";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MoveArgs {
    /// The subscription to take messages from.
    subscription: String,
    /// The topic to publish them to.
    topic: String,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop when nothing came for so long.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    idle: Option<Duration>,
    /// How many messages to work on at a time at most.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    credit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

/// What became of the messages that were taken.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Moved {
    /// Published and acked.
    moved: u64,
    /// No longer ours when it came to the commit: delivered again, here or to somebody else.
    stale: u64,
    /// Not known to be moved. Given back: what was not moved comes again.
    unknown: u64,
}

pub(crate) async fn run(args: MoveArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let client = connect(&args.client).await?;
    let wanted = args.count.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX).max(1);
    let options = ConsumerOptions { credit: args.credit.min(wanted), ..ConsumerOptions::default() };
    let mut consumer = client.consume(&args.subscription, options).await?;
    let publisher = client.publisher(PublisherOptions::default());
    let mut moved = Moved::default();
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        ended = take(&args, &mut consumer, &publisher, &mut moved) => ended,
    };
    signals.exit_on_next();
    // What is on its way is committed; the rest returns to the queue.
    publisher.flush().await;
    consumer.close().await;
    ended?;
    let Moved { moved: count, stale, unknown } = moved;
    output.result(
        format!("moved {count} messages; {stale} were delivered again first, {unknown} unknown"),
        &moved,
    )
}

async fn take(
    args: &MoveArgs,
    consumer: &mut Consumer,
    publisher: &Publisher,
    moved: &mut Moved,
) -> Result<(), Failure> {
    let mut committing = FuturesUnordered::new();
    let mut taken = 0;
    let mut idle_since = Instant::now();
    while args.count.is_none_or(|count| moved.moved < count) {
        let may_take = args.count.is_none_or(|count| taken < count);
        tokio::select! {
            biased;
            Some((delivery, outcome)) = committing.next(), if !committing.is_empty() => {
                idle_since = Instant::now();
                if !note(&delivery, outcome, moved)? {
                    taken -= 1;
                }
            }
            next = consumer.next(), if may_take => {
                let Some(delivery) = next else { return Ok(()) };
                let delivery = delivery?;
                taken += 1;
                idle_since = Instant::now();
                let commit = Commit::new().ack(&delivery).publish(&args.topic, delivery.message.clone());
                let sent = publisher.send_commit(commit).await;
                committing.push(async move {
                    let outcome = match sent {
                        Ok(confirmation) => confirmation.await,
                        Err(error) => Err(error),
                    };
                    (delivery, outcome)
                });
            }
            () = sleep_until(idle_since + args.idle.unwrap_or(FAR)), if committing.is_empty() => {
                if args.idle.is_some() {
                    return Ok(());
                }
                idle_since = Instant::now();
            }
        }
    }
    Ok(())
}

/// Says whether the message was moved.
fn note<T>(
    delivery: &Delivery,
    outcome: Result<T, PublishError>,
    moved: &mut Moved,
) -> Result<bool, Failure> {
    match outcome {
        Ok(_) => {
            moved.moved += 1;
            return Ok(true);
        }
        Err(PublishError::Refused(refusal)) if refusal.reason == Reason::StaleLease => moved.stale += 1,
        Err(error @ (PublishError::Refused(_) | PublishError::Closed)) => return Err(error.into()),
        Err(
            PublishError::NotSent { .. }
            | PublishError::TimedOut { .. }
            | PublishError::Unknown
            | PublishError::Duplicate,
        ) => {
            // If it was moved after all, this finds nothing to give back.
            drop(delivery.nack());
            moved.unknown += 1;
        }
    }
    Ok(false)
}
