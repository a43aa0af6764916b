//! From a request to an operation: checks every message, copies each once, into the fragment.

use crate::gateway::GatewayLimits;
use bytes::Bytes;
use quorate_machine::block::FragmentBuilder;
use quorate_machine::{Op, Publish, PublishRun};
use quorate_types::{Reason, Refusal, TopicName};
use quorate_wire as wire;
use quorate_wire::v1;

/// A publish that is ready to go.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) op: Op,
    pub(super) fragment: Bytes,
}

/// Checks a request.
///
/// # Errors
/// The refusal names what is wrong, the limit and what to do.
pub(super) fn prepare(request: &v1::PublishRequest, limits: &GatewayLimits) -> Result<Prepared, Refusal> {
    let topic = wire::topic(&request.topic)?;
    check_size(&request.messages, limits)?;
    let bytes = request.messages.iter().map(Bytes::len).sum();
    let mut fragment = FragmentBuilder::with_capacity(request.messages.len(), bytes);
    let mut runs: Vec<PublishRun> = Vec::new();
    let mut message_bytes_max = 0;
    for (at, message) in request.messages.iter().enumerate() {
        let size = check_message_size(at, message, limits)?;
        message_bytes_max = size.max(message_bytes_max);
        let view = wire::message_view(message).map_err(|r| at_message(at, &r))?;
        match runs.last_mut() {
            Some(run) if run.subject.as_str() == view.subject => run.count += 1,
            _ => {
                let subject = wire::subject(view.subject).map_err(|r| at_message(at, &r))?;
                runs.push(PublishRun { subject, count: 1 });
            }
        }
        fragment.push(message);
    }
    let fragment = fragment.finish();
    let publish = Publish {
        topic,
        runs,
        fragment_bytes: u32::try_from(fragment.len()).unwrap_or(u32::MAX),
        message_bytes_max,
        create_topic: limits.auto_create_topics,
    };
    Ok(Prepared { op: Op::Publish(publish), fragment })
}

/// An operation that does nothing but use up a number: what a client sent under it was refused before it could be
/// proposed, and the session must go on with the next one. The machine refuses a publish without messages.
pub(super) fn void() -> Option<Op> {
    let topic = TopicName::parse("void").ok()?;
    let publish =
        Publish { topic, runs: Vec::new(), fragment_bytes: 0, message_bytes_max: 0, create_topic: false };
    Some(Op::Publish(publish))
}

fn check_size(messages: &[Bytes], limits: &GatewayLimits) -> Result<(), Refusal> {
    let (count, count_max) = (messages.len(), limits.machine.publish_messages_max);
    if count == 0 {
        return Err(Refusal::new(Reason::InvalidArgument, "the publish has no messages: give at least one"));
    }
    if count > count_max as usize {
        let text =
            format!("the publish has {count} messages; the limit is {count_max}: send several publishes");
        return Err(Refusal::new(Reason::LimitReached, text));
    }
    let (bytes, bytes_max) = (messages.iter().map(Bytes::len).sum::<usize>(), limits.publish_bytes_max);
    if bytes > bytes_max {
        let text = format!("the publish has {bytes} bytes; the limit is {bytes_max}: send several publishes");
        return Err(Refusal::new(Reason::MessageTooLarge, text));
    }
    Ok(())
}

fn check_message_size(at: usize, message: &Bytes, limits: &GatewayLimits) -> Result<u32, Refusal> {
    let max = limits.machine.message_bytes_max;
    u32::try_from(message.len()).ok().filter(|size| *size <= max).ok_or_else(|| {
        let size = message.len();
        let text = format!(
            "message {at} of the publish has {size} bytes as encoded; the limit is {max}: split it, or store the payload elsewhere"
        );
        Refusal::new(Reason::MessageTooLarge, text)
    })
}

/// Which of the messages a refusal is about.
fn at_message(at: usize, refusal: &Refusal) -> Refusal {
    Refusal::new(refusal.reason, format!("message {at} of the publish: {}", refusal.message))
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
