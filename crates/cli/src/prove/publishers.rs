//! Publishers: each with a client and a session of its own, at a steady rate, through another node to begin with.

use super::history::History;
use super::ledger::Outcome;
use super::payload::Key;
use quorate_client::{Client, Confirmation, Message, PublishError, PublisherOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Messages are sent in small bursts: timers have milliseconds.
const TICK: Duration = Duration::from_millis(10);

/// Timers of a busy machine are late by less than this.
const MADE_UP_FOR: Duration = Duration::from_millis(200);

/// A publisher that gets no confirms stops at so many.
const WINDOW: u32 = 1_000;

/// After so long without a confirm nobody knows: far longer than any planned outage.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What one publisher does.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    /// Which publisher.
    pub(crate) publisher: u32,
    pub(crate) topic: String,
    pub(crate) messages_per_second: u32,
    pub(crate) message_bytes: usize,
}

/// Publishes until told to stop; returns when every message is answered one way or the other.
pub(crate) async fn publish(
    client: Client,
    history: Arc<History>,
    publishing: Publishing,
    stop: watch::Receiver<bool>,
) {
    let options = PublisherOptions {
        window_messages: WINDOW,
        timeout: TIMEOUT,
        // Through all nodes: that is what is tried.
        prefer_leader: false,
        ..PublisherOptions::default()
    };
    let publisher = client.publisher(options);
    let (sent, confirmations) = mpsc::unbounded_channel();
    let answers = tokio::spawn(note_answers(confirmations, Arc::clone(&history)));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut owed = 0.0;
    let mut last = Instant::now();
    while !*stop.borrow() {
        ticks.tick().await;
        // A late tick is made up for; an outage is not: afterwards the rate goes on as before.
        let passed = last.elapsed().min(MADE_UP_FOR);
        last = Instant::now();
        owed += f64::from(publishing.messages_per_second) * passed.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            let Some(key) = history.send(publishing.publisher) else { return };
            let message = Message::new(key.payload(history.run, publishing.message_bytes))
                .subject(format!("prove.{}", key.publisher))
                .key(key.bytes().to_vec());
            match publisher.send(&publishing.topic, message).await {
                // The channel is open as long as this task lives.
                Ok(confirmation) => drop(sent.send((key, confirmation))),
                Err(error) => history.answered(key, outcome(&error)),
            }
        }
    }
    drop(sent);
    // Answers come within the publisher's timeout.
    let _ = answers.await;
}

async fn note_answers(
    mut confirmations: mpsc::UnboundedReceiver<(Key, Confirmation)>,
    history: Arc<History>,
) {
    while let Some((key, confirmation)) = confirmations.recv().await {
        let outcome = match confirmation.await {
            Ok(receipt) => Outcome::Confirmed { offset: history.place_of(key, receipt.offset) },
            Err(error) => outcome(&error),
        };
        history.answered(key, outcome);
    }
}

/// Only what is sure is called a failure: a timeout says nothing about what became of the message.
fn outcome(error: &PublishError) -> Outcome {
    match error {
        PublishError::Refused(_) | PublishError::NotSent { .. } => Outcome::Refused,
        PublishError::TimedOut { .. }
        | PublishError::Unknown
        | PublishError::Duplicate
        | PublishError::Closed => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_sure_is_a_failure() {
        let after = Duration::from_secs(1);
        assert_eq!(outcome(&PublishError::NotSent { after, last: None }), Outcome::Refused);
        for unsure in
            [PublishError::TimedOut { after, last: None }, PublishError::Unknown, PublishError::Closed]
        {
            assert_eq!(outcome(&unsure), Outcome::Unknown);
        }
    }
}
