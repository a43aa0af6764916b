//! From a request to an operation: checks every message and puts it into the operation's fragment, small ones as copies.

use super::commit;
use crate::gateway::GatewayLimits;
use crate::message_options::options_to_publish;
use crate::traces::{Kind, Spans, Traces};
use bytes::Bytes;
use prost::Message as _;
use quorate_machine::{Op, Publish, PublishRun, Publishes, block};
use quorate_types::{Parts, Reason, Refusal, Rope, ShardPlace, TopicName};
use quorate_wire as wire;
use quorate_wire::v1;

/// A publish that is ready to go.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) op: Op,
    pub(super) fragment: Rope,
    pub(super) per_topic: PerTopic,
}

/// What a request is checked against.
pub(super) struct Checks<'a> {
    pub(super) limits: &'a GatewayLimits,
    /// The shard to which it goes.
    pub(super) place: ShardPlace,
    /// Topics of the request, by their place in it, to which the caller may not publish.
    pub(super) denied: &'a [(usize, Refusal)],
}

/// What is remembered of the publishes of an operation to several topics; nothing for a publish to one.
#[derive(Debug, Default)]
pub(super) struct PerTopic {
    /// Of the fragment of each.
    pub(super) bytes: Vec<u32>,
    /// Which were refused here, and why. The group refuses these too, and cannot know why.
    pub(super) refused: Vec<(usize, Refusal)>,
}

/// Checks a request.
///
/// # Errors
/// The refusal names what is wrong, the limit and what to do. It is about the whole request.
pub(super) fn prepare(
    request: &v1::PublishRequest,
    limits: &GatewayLimits,
    place: ShardPlace,
    denied: &[(usize, Refusal)],
) -> Result<Prepared, Refusal> {
    let checks = &Checks { limits, place, denied };
    if let Some(commit) = &request.commit {
        return commit::prepare(request, commit, checks);
    }
    if !request.more.is_empty() {
        return prepare_each(request, checks);
    }
    if let Some((_, refusal)) = denied.first() {
        return Err(refusal.clone());
    }
    let topic = wire::topic(&request.topic)?;
    check_size(&request.messages, limits)?;
    let publish = publish(topic, &request.messages, checks)?;
    let publish = Publish { mandatory: request.mandatory, ..publish };
    let fragment = fragments(request, std::iter::once(&request.messages));
    Ok(Prepared { op: Op::Publish(publish), fragment, per_topic: PerTopic::default() })
}

/// The publishes of a request to several topics are refused one by one. A refused one goes along without its messages: the
/// operation has as many answers as the request has topics, whichever node asks for them again.
fn prepare_each(request: &v1::PublishRequest, checks: &Checks<'_>) -> Result<Prepared, Refusal> {
    let mut refused = Vec::new();
    let gathered = gather(request, checks, |at, refusal| {
        let Some(void) = void_publish() else { return Err(refusal) };
        refused.push((at, refusal));
        Ok(void)
    })?;
    let Gathered { publishes, fragments, bytes } = gathered;
    let op = Op::PublishEach(Publishes::new(&publishes));
    Ok(Prepared { op, fragment: fragments, per_topic: PerTopic { bytes, refused } })
}

/// The publishes of a request, one for each of its topics.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) publishes: Vec<Publish>,
    /// One after the other.
    pub(super) fragments: Rope,
    /// Of the fragment of each.
    pub(super) bytes: Vec<u32>,
}

/// `instead`: what takes the place of the publish at an index, which is refused; or why all of the request is.
pub(super) fn gather(
    request: &v1::PublishRequest,
    checks: &Checks<'_>,
    mut instead: impl FnMut(usize, Refusal) -> Result<Publish, Refusal>,
) -> Result<Gathered, Refusal> {
    // A topic without messages is work, too.
    let count = request.more.iter().fold(request.messages.len().max(1), |n, m| n + m.messages.len().max(1));
    let bytes = all_messages(request).map(Bytes::len).sum();
    check_sum(count, bytes, checks.limits)?;
    let first = (wire::topic(&request.topic), request.mandatory);
    let more = request.more.iter().map(|more| (wire::topic_of_bytes(&more.topic), more.mandatory));
    let messages = std::iter::once(&request.messages).chain(request.more.iter().map(|more| &more.messages));
    let topics = 1 + request.more.len();
    let mut publishes = Vec::with_capacity(topics);
    let mut bytes = Vec::with_capacity(topics);
    let parts = std::iter::once(first).chain(more).zip(messages.clone());
    for (at, ((topic, mandatory), messages)) in parts.enumerate() {
        let checked = topic.and_then(|topic| {
            if let Some((_, refusal)) = checks.denied.iter().find(|(denied, _)| *denied == at) {
                return Err(refusal.clone());
            }
            check_count(messages.len())?;
            publish(topic, messages, checks)
        });
        let publish = match checked {
            Ok(publish) => Publish { mandatory, ..publish },
            Err(refusal) => instead(at, refusal)?,
        };
        bytes.push(publish.fragment_bytes);
        publishes.push(publish);
    }
    let kept = publishes.iter().zip(messages).filter(|(publish, _)| publish.fragment_bytes > 0);
    let fragments = fragments(request, kept.map(|(_, messages)| messages));
    Ok(Gathered { publishes, fragments, bytes })
}

/// The fragments of lists of messages of a request, one behind the other.
///
/// A message that stays where it lies keeps all of the request in memory, while what is counted in the budgets are the
/// fragments. So large messages stay only where they make up most of the request; otherwise everything is copied.
fn fragments<'a>(request: &v1::PublishRequest, lists: impl Iterator<Item = &'a Vec<Bytes>> + Clone) -> Rope {
    let bytes = |messages: &Vec<Bytes>| messages.iter().map(Bytes::len).sum();
    let large = lists.clone().flatten().map(Bytes::len).filter(|bytes| *bytes >= Parts::APART_BYTES_MIN);
    let large: usize = large.sum();
    let mut fragments = Parts::default();
    if large > 0 && 2 * large >= request.encoded_len() {
        lists.for_each(|messages| block::append_fragment_in_parts(&mut fragments, messages));
    } else {
        let all = lists.clone().map(|messages| block::fragment_bytes(messages.len(), bytes(messages))).sum();
        fragments.small().reserve(all);
        lists.for_each(|messages| block::append_fragment(fragments.small(), messages));
    }
    fragments.into()
}

/// The messages of a request to all of its topics.
pub(super) fn all_messages(request: &v1::PublishRequest) -> impl Iterator<Item = &Bytes> {
    request.messages.iter().chain(request.more.iter().flat_map(|more| &more.messages))
}

/// How many messages a request has, and how many bytes they have as they came.
pub(super) fn volume(request: &v1::PublishRequest) -> (u64, u64) {
    all_messages(request).fold((0, 0), |(count, bytes), message| (count + 1, bytes + message.len() as u64))
}

/// Spans of the messages that are followed.
pub(super) fn follow(traces: &Traces, request: &v1::PublishRequest) -> Spans {
    traces.of_messages(Kind::Publish, all_messages(request), |span| {
        // Of a request with several topics the first: a publisher's own is in its span.
        span.say("messaging.destination.name", &request.topic);
        span.say("quorate.namespace", &request.namespace);
    })
}

/// The publish of messages to a topic, each of which is checked.
fn publish(topic: TopicName, messages: &[Bytes], checks: &Checks<'_>) -> Result<Publish, Refusal> {
    let mut runs: Vec<PublishRun> = Vec::new();
    let (mut message_bytes_max, mut bytes) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        let size = check_message_size(at, message, checks.limits)?;
        message_bytes_max = size.max(message_bytes_max);
        bytes += message.len();
        let view = wire::message_view(message).map_err(|r| at_message(at, &r))?;
        let options = options_to_publish(&view).map_err(|r| at_message(at, &r))?;
        match runs.last_mut() {
            Some(run) if run.subject.as_str() == view.subject && run.options == options => run.count += 1,
            _ => {
                let subject = wire::subject(view.subject).map_err(|r| at_message(at, &r))?;
                runs.push(PublishRun { subject, count: 1, options });
            }
        }
    }
    // Elsewhere than at its home no topic is created by a publish. The group knows that as well, once it is opened.
    let create_topic = checks.limits.auto_create_topics && checks.place.is_home_of(topic.as_str());
    Ok(Publish {
        topic,
        runs,
        fragment_bytes: u32::try_from(block::fragment_bytes(messages.len(), bytes)).unwrap_or(u32::MAX),
        message_bytes_max,
        create_topic,
        mandatory: false,
    })
}

/// An operation that does nothing but use up a number: what a client sent under it was refused before it could be
/// proposed, and the session must go on with the next one.
pub(super) fn void() -> Option<Op> {
    void_publish().map(Op::Publish)
}

/// The machine refuses a publish without messages.
fn void_publish() -> Option<Publish> {
    let topic = TopicName::parse("void").ok()?;
    Some(Publish {
        topic,
        runs: Vec::new(),
        fragment_bytes: 0,
        message_bytes_max: 0,
        create_topic: false,
        mandatory: false,
    })
}

fn check_size(messages: &[Bytes], limits: &GatewayLimits) -> Result<(), Refusal> {
    check_count(messages.len())?;
    check_sum(messages.len(), messages.iter().map(Bytes::len).sum(), limits)
}

fn check_count(count: usize) -> Result<(), Refusal> {
    if count == 0 {
        return Err(Refusal::new(Reason::InvalidArgument, "the publish has no messages: give at least one"));
    }
    Ok(())
}

fn check_sum(count: usize, bytes: usize, limits: &GatewayLimits) -> Result<(), Refusal> {
    let count_max = limits.machine.publish_messages_max;
    if count > count_max as usize {
        let text =
            format!("the publish has {count} messages; the limit is {count_max}: send several publishes");
        return Err(Refusal::new(Reason::LimitReached, text));
    }
    let bytes_max = limits.publish_bytes_max;
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
