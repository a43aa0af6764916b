//! Messages that wait to be sent, as the batches in which they will be.

use super::{Encoded, Room};
use crate::error::PublishError;
use crate::message::Receipt;
use bytes::BytesMut;
use prost::Message as _;
use quorate_types::{GroupId, LogId};
use quorate_wire::v1;
use std::collections::VecDeque;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Messages of one request. Well under the 10,000 that a shard takes, and enough to make the cost of a request vanish.
pub(super) const BATCH_MESSAGES_MAX: usize = 1_000;
/// Bytes of one request's messages. Four of them make the largest entry.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;
/// A message from this size on is a request of its own: what goes to one topic is refused as a whole, and who is
/// refused for its size should not take others along.
const ALONE_BYTES: usize = 64 << 10;
/// Small messages are encoded into shared pieces of memory of this size.
const ARENA_BYTES: usize = 64 << 10;

/// Who waits for the answer about one message, or several that were handed over together.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) count: u32,
    /// Bytes of the window that it holds.
    pub(super) weight: u32,
    pub(super) deadline: Instant,
    /// `None` once told.
    pub(super) confirm: Option<Confirm>,
}

/// How it is told.
#[derive(Debug)]
pub(super) enum Confirm {
    /// The receipt of its messages.
    Messages(oneshot::Sender<Result<Receipt, PublishError>>),
    /// A receipt for each run of a commit.
    Commit(oneshot::Sender<Result<Vec<Receipt>, PublishError>>),
}

impl Waiter {
    /// Who dropped the confirmation does not want to know.
    pub(super) fn tell(&mut self, outcome: Result<Receipt, PublishError>) {
        match self.confirm.take() {
            Some(Confirm::Messages(confirm)) => drop(confirm.send(outcome)),
            Some(Confirm::Commit(confirm)) => drop(confirm.send(outcome.map(|receipt| vec![receipt]))),
            None => {}
        }
    }
}

/// Consecutive messages of a batch that go to the same topic: they are stored together, or refused together.
#[derive(Debug)]
struct Run {
    /// Its name as it is sent.
    topic: Encoded,
    /// How many, at least 1.
    messages: usize,
    /// One of them has an id, by which its topic may know it: nothing else is stored or refused with it.
    identified: bool,
}

/// The messages of one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Encoded>,
    pub(super) waiters: Vec<Waiter>,
    /// The topics of `messages` and of `waiters`, each of which waits for messages of one run.
    runs: VecDeque<Run>,
    bytes: usize,
    alone: bool,
    /// Makes one step of it.
    commit: Option<v1::Commit>,
    /// Its number, where the caller has given it one: it is sent under this one, and in no case left out.
    pub(super) sequence: Option<u64>,
    /// What is for no subscription is refused: what was handed over together by itself, so that it takes nothing else along.
    mandatory: bool,
}

impl Batch {
    /// One that nothing is added to later.
    fn alone(waiter: Waiter, sequence: Option<u64>) -> Self {
        Self { waiters: vec![waiter], alone: true, sequence, ..Self::default() }
    }

    fn takes(&self, topic: &str, count: usize, bytes: usize) -> bool {
        let names = if self.goes_on(topic) { 0 } else { topic.len() };
        !self.alone
            && self.messages.len() + count <= BATCH_MESSAGES_MAX
            && self.bytes + bytes + names <= BATCH_BYTES_MAX
    }

    fn add(&mut self, topic: &str, messages: &[v1::Message], arena: &mut BytesMut) {
        let identified = messages.iter().any(|message| !message.message_id.is_empty());
        let goes_on = !identified && self.goes_on(topic);
        match self.runs.back_mut() {
            Some(run) if goes_on => run.messages += messages.len(),
            _ => {
                self.bytes += topic.len();
                let topic = encoded_topic(arena, topic);
                self.runs.push_back(Run { topic, messages: messages.len(), identified });
            }
        }
        self.messages.extend(messages.iter().map(|message| encode(arena, message)));
    }

    /// Whether messages to this topic are stored or refused with those before them.
    fn goes_on(&self, topic: &str) -> bool {
        let together = !self.mandatory || self.commit.is_some();
        together && self.runs.back().is_some_and(|run| run.topic == topic && !run.identified)
    }

    /// How many outcomes the request has: one at least.
    pub(super) fn outcomes(&self) -> usize {
        self.runs.len().max(1)
    }

    pub(super) fn first_topic(&self) -> Option<Encoded> {
        self.runs.front().map(|run| run.topic.clone())
    }

    /// What is sent, but for its place in the session.
    pub(super) fn request(&self) -> v1::PublishRequest {
        let mut rest = self.messages.as_slice();
        let mandatory = self.mandatory;
        let mut runs = self.runs.iter().map(|run| {
            let (messages, later) = rest.split_at(run.messages.min(rest.len()));
            rest = later;
            v1::TopicMessages { topic: run.topic.clone(), messages: messages.to_vec(), mandatory }
        });
        let commit = self.commit.clone();
        let Some(first) = runs.next() else { return v1::PublishRequest { commit, ..Default::default() } };
        v1::PublishRequest {
            commit,
            topic: String::from_utf8_lossy(&first.topic).into_owned(),
            messages: first.messages,
            mandatory,
            more: runs.collect(),
            ..Default::default()
        }
    }

    /// Takes out the messages whose time is over, tells so, and says what room becomes free. Deadlines are in order.
    pub(super) fn expire(&mut self, now: Instant, error: &PublishError) -> Room {
        let expired = self.waiters.iter().take_while(|w| w.deadline <= now).count();
        let freed = room_of(&self.waiters[..expired]);
        self.waiters.drain(..expired).for_each(|mut waiter| waiter.tell(Err(error.clone())));
        self.messages.drain(..freed.messages.min(self.messages.len()));
        let mut gone = freed.messages;
        while let Some(run) = self.runs.front_mut() {
            let of_run = gone.min(run.messages);
            run.messages -= of_run;
            gone -= of_run;
            if run.messages > 0 {
                break;
            }
            self.runs.pop_front();
        }
        freed
    }

    /// Tells those whose time is over; their messages stay. Deadlines are in order.
    pub(super) fn tell_late(&mut self, now: Instant, error: &PublishError) {
        for waiter in self.waiters.iter_mut().take_while(|w| w.deadline <= now) {
            waiter.tell(Err(error.clone()));
        }
    }

    /// Tells every waiter what became of its messages, by topic, and says what room becomes free.
    pub(super) fn tell_each(
        mut self,
        outcomes: impl IntoIterator<Item = Result<v1::Receipt, PublishError>>,
    ) -> Room {
        if self.commit.is_some() {
            return self.tell_commit(outcomes);
        }
        let mut waiters = self.waiters.iter_mut();
        for (run, outcome) in self.runs.iter().zip(outcomes) {
            let mut told = 0;
            while told < run.messages as u64
                && let Some(waiter) = waiters.next()
            {
                waiter.tell(match &outcome {
                    Ok(receipt) => Ok(receipt_of(receipt, told, waiter.count)),
                    Err(error) => Err(error.clone()),
                });
                told += u64::from(waiter.count);
            }
        }
        room_of(&self.waiters)
    }

    /// A commit has one waiter, and was done wholly.
    fn tell_commit(mut self, outcomes: impl IntoIterator<Item = Result<v1::Receipt, PublishError>>) -> Room {
        let receipt = |receipt: v1::Receipt| receipt_of(&receipt, 0, receipt.count);
        let receipts = outcomes.into_iter().map(|outcome| outcome.map(receipt)).collect();
        if let Some(waiter) = self.waiters.first_mut()
            && let Some(Confirm::Commit(confirm)) = waiter.confirm.take()
        {
            // Who dropped the confirmation does not want to know.
            drop(confirm.send(receipts));
        }
        room_of(&self.waiters)
    }

    /// Tells every waiter the same, and says what room becomes free.
    pub(super) fn tell_all(mut self, error: &PublishError) -> Room {
        self.waiters.iter_mut().for_each(|waiter| waiter.tell(Err(error.clone())));
        room_of(&self.waiters)
    }
}

fn receipt_of(receipt: &v1::Receipt, after: u64, count: u32) -> Receipt {
    Receipt {
        offset: receipt.first_offset.saturating_add(after),
        count,
        routed: receipt.routed,
        group: GroupId::new(receipt.group),
        log_id: LogId { term: receipt.term, index: receipt.index },
        duplicate: receipt.duplicate,
    }
}

fn room_of(waiters: &[Waiter]) -> Room {
    waiters.iter().fold(Room::default(), |room, w| Room {
        messages: room.messages + w.count as usize,
        bytes: room.bytes + w.weight as usize,
    })
}

/// Batches in order; only the last one grows.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    arena: BytesMut,
    /// No handle is left: nothing will be added.
    pub(super) closed: bool,
    /// The next number of a producer; nothing where the numbers are the task's business.
    next_sequence: Option<u64>,
    mandatory: bool,
}

/// A number that would leave out the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The next number.
    pub(super) next: u64,
}

impl Queue {
    /// An empty one. `mandatory`: what is for no subscription is refused.
    pub(super) fn new(mandatory: bool) -> Self {
        Self { mandatory, ..Self::default() }
    }

    /// For a producer that goes on after this number: what it hands over together is a request of its own.
    pub(super) fn numbered(last_sequence: u64) -> Self {
        Self { next_sequence: Some(last_sequence.saturating_add(1)), ..Self::default() }
    }

    /// The number of what is put in line now: the next one, or the one that is given, which may be an older one.
    pub(super) fn number(&mut self, at: Option<u64>) -> Result<u64, Gap> {
        let next = self.next_sequence.unwrap_or(1);
        let sequence = at.unwrap_or(next);
        if sequence > next {
            return Err(Gap { next });
        }
        self.next_sequence = Some(next.max(sequence.saturating_add(1)));
        Ok(sequence)
    }

    /// Adds messages that were handed over together, as the request with this number. Says whether the queue was empty.
    pub(super) fn put_numbered(
        &mut self,
        sequence: u64,
        topic: &str,
        messages: &[v1::Message],
        waiter: Waiter,
    ) -> bool {
        let mut batch = Batch::alone(waiter, Some(sequence));
        batch.add(topic, messages, &mut self.arena);
        self.push(batch)
    }

    /// Adds messages that were handed over together. Says whether the queue was empty.
    pub(super) fn put(
        &mut self,
        topic: &str,
        messages: &[v1::Message],
        bytes: usize,
        waiter: Waiter,
    ) -> bool {
        let first = self.batches.is_empty();
        let alone = bytes >= ALONE_BYTES && messages.len() == 1;
        let fits = !alone && self.batches.back().is_some_and(|b| b.takes(topic, messages.len(), bytes));
        if !fits {
            self.batches.push_back(Batch { alone, mandatory: self.mandatory, ..Batch::default() });
        }
        if let Some(batch) = self.batches.back_mut() {
            batch.bytes += bytes;
            batch.waiters.push(waiter);
            batch.add(topic, messages, &mut self.arena);
        }
        first
    }

    /// Adds a commit, as a request of its own, under a producer's number if there is one. Says whether the queue was empty.
    pub(super) fn put_commit(
        &mut self,
        sequence: Option<u64>,
        commit: v1::Commit,
        publishes: &[(String, v1::Message)],
        waiter: Waiter,
    ) -> bool {
        let alone = Batch::alone(waiter, sequence);
        let mut batch = Batch { commit: Some(commit), mandatory: self.mandatory, ..alone };
        for (topic, message) in publishes {
            batch.add(topic, std::slice::from_ref(message), &mut self.arena);
        }
        self.push(batch)
    }

    fn push(&mut self, batch: Batch) -> bool {
        let first = self.batches.is_empty();
        self.batches.push_back(batch);
        first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn first_topic(&self) -> Option<Encoded> {
        self.batches.front().and_then(Batch::first_topic)
    }

    /// Whether the first batch can grow no more.
    pub(super) fn is_first_full(&self) -> bool {
        let full = |b: &Batch| b.alone || b.messages.len() >= BATCH_MESSAGES_MAX;
        self.batches.len() > 1 || self.batches.front().is_some_and(full)
    }

    pub(super) fn take(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Takes out what was not sent in time, tells it so, and says what room becomes free. What has its number stays,
    /// for it will be sent: its waiters are told `sent`.
    pub(super) fn expire(&mut self, now: Instant, sent: &PublishError, unsent: &PublishError) -> Room {
        let mut room = Room::default();
        if self.next_sequence.is_some() {
            let late = |batch: &&mut Batch| batch.waiters.first().is_some_and(|w| w.deadline <= now);
            self.batches.iter_mut().take_while(late).for_each(|batch| batch.tell_late(now, sent));
            return room;
        }
        while let Some(batch) = self.batches.front_mut() {
            room += batch.expire(now, unsent);
            if !batch.waiters.is_empty() {
                break;
            }
            self.batches.pop_front();
        }
        room
    }
}

/// Small messages share their memory, so that there is one allocation for hundreds of them.
fn encode(arena: &mut BytesMut, message: &v1::Message) -> Encoded {
    let bytes = message.encoded_len();
    if bytes > ARENA_BYTES / 4 {
        return message.encode_to_vec().into();
    }
    make_room(arena, bytes);
    message.encode_raw(arena);
    arena.split().freeze()
}

fn encoded_topic(arena: &mut BytesMut, topic: &str) -> Encoded {
    make_room(arena, topic.len());
    arena.extend_from_slice(topic.as_bytes());
    arena.split().freeze()
}

fn make_room(arena: &mut BytesMut, bytes: usize) {
    if arena.capacity() < bytes {
        *arena = BytesMut::with_capacity(ARENA_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_types::{Reason, Refusal};
    use std::time::Duration;

    #[test]
    fn what_is_mandatory_is_refused_by_itself_and_what_is_committed_together() {
        let deadline = Instant::now();
        for (mandatory, parts) in [(false, 1), (true, 3)] {
            let mut queue = Queue::new(mandatory);
            let told: Vec<_> = (0..3).map(|_| put(&mut queue, "a", 1, deadline)).collect();
            let request = queue.take().unwrap().request();
            assert_eq!((request.mandatory, 1 + request.more.len()), (mandatory, parts));
            assert!(request.more.iter().all(|more| more.mandatory == mandatory && more.messages.len() == 1));
            drop(told);
            let told = put_commit(&mut queue, &["a", "a", "b"], deadline);
            let request = queue.take().unwrap().request();
            assert_eq!((request.mandatory, request.messages.len(), request.more.len()), (mandatory, 2, 1));
            drop(told);
        }
    }

    #[test]
    fn what_has_an_id_is_a_publish_of_its_own_also_in_a_commit() {
        let deadline = Instant::now();
        let message = |id: &str| v1::Message { message_id: id.to_owned(), ..Default::default() };
        let ids = ["", "", "x", "", "", "y", "z"];
        let mut queue = Queue::default();
        let mut told = Vec::new();
        for id in ids {
            let (confirm, confirmed) = oneshot::channel();
            let waiter = Waiter { count: 1, weight: 1, deadline, confirm: Some(Confirm::Messages(confirm)) };
            queue.put("a", &[message(id)], 1, waiter);
            told.push(confirmed);
        }
        let (confirm, confirmed) = oneshot::channel();
        let waiter = Waiter { count: 7, weight: 1, deadline, confirm: Some(Confirm::Commit(confirm)) };
        let publishes = ids.map(|id| ("a".to_owned(), message(id)));
        queue.put_commit(None, v1::Commit::default(), &publishes, waiter);
        for _ in 0..2 {
            let request = queue.take().unwrap().request();
            let parts =
                std::iter::once(&request.messages).chain(request.more.iter().map(|more| &more.messages));
            assert_eq!(parts.map(Vec::len).collect::<Vec<_>>(), [2, 1, 2, 1, 1]);
        }
        drop((told, confirmed));
    }

    fn put(
        queue: &mut Queue,
        topic: &str,
        payload: usize,
        deadline: Instant,
    ) -> oneshot::Receiver<Result<Receipt, PublishError>> {
        let (confirm, confirmed) = oneshot::channel();
        let message = v1::Message { payload: Bytes::from(vec![7; payload]), ..Default::default() };
        let bytes = message.encoded_len();
        let waiter = Waiter { count: 1, weight: 1, deadline, confirm: Some(Confirm::Messages(confirm)) };
        queue.put(topic, &[message], bytes, waiter);
        confirmed
    }

    fn sizes(queue: &mut Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.take()).map(|b| b.messages.len()).collect()
    }

    #[test]
    fn a_batch_ends_with_its_count_and_its_bytes() {
        let now = Instant::now();
        let mut queue = Queue::default();
        (0..BATCH_MESSAGES_MAX + 1).for_each(|_| drop(put(&mut queue, "a", 10, now)));
        assert_eq!(sizes(&mut queue), [BATCH_MESSAGES_MAX, 1]);
        (0..40).for_each(|_| drop(put(&mut queue, "a", 60_000, now)));
        assert!(sizes(&mut queue).iter().all(|&n| n * 60_000 <= BATCH_BYTES_MAX));
        [10, ALONE_BYTES, 10].into_iter().for_each(|bytes| drop(put(&mut queue, "a", bytes, now)));
        assert_eq!(sizes(&mut queue), [1, 1, 1]);
    }

    #[test]
    fn messages_to_several_topics_share_a_request_in_their_order_and_only_neighbours_share_a_topic() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (payload, topic) in (1..).zip(["a", "a", "b", "a", "c", "c"]) {
            drop(put(&mut queue, topic, payload, now));
        }
        let mut batch = queue.take().unwrap();
        assert!(queue.is_empty());
        let told = |request: v1::PublishRequest| {
            let first = (request.topic, request.messages);
            let more =
                request.more.into_iter().map(|m| (String::from_utf8(m.topic.to_vec()).unwrap(), m.messages));
            let sizes = |messages: Vec<Encoded>| messages.iter().map(|m| m.len() - 2).collect::<Vec<_>>();
            let all = std::iter::once(first).chain(more);
            all.map(|(topic, messages)| (topic, sizes(messages))).collect::<Vec<_>>()
        };
        let expected = [("a", vec![1, 2]), ("b", vec![3]), ("a", vec![4]), ("c", vec![5, 6])];
        assert_eq!(told(batch.request()), expected.map(|(topic, sizes)| (topic.to_owned(), sizes)));
        // Those whose time is over go with their topics.
        batch.waiters.iter_mut().skip(4).for_each(|waiter| waiter.deadline += Duration::from_secs(9));
        let error = PublishError::NotSent { after: Duration::from_secs(1), last: None };
        assert_eq!(batch.expire(now, &error), Room { messages: 4, bytes: 4 });
        assert_eq!(told(batch.request()), [("c".to_owned(), vec![5, 6])]);
    }

    #[test]
    fn each_topic_has_its_own_outcome() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let topics = ["a", "a", "nowhere", "b", "b", "b"];
        let waiters: Vec<_> = topics.iter().map(|topic| put(&mut queue, topic, 1, now)).collect();
        let refused = PublishError::Refused(Refusal::new(Reason::TopicNotFound, "no"));
        let at = |first_offset| Ok(v1::Receipt { first_offset, ..Default::default() });
        let outcomes = [at(7), Err(refused.clone()), at(40)];
        assert_eq!(queue.take().unwrap().tell_each(outcomes), Room { messages: 6, bytes: 6 });
        let told: Vec<_> =
            waiters.into_iter().map(|mut w| w.try_recv().unwrap().map(|receipt| receipt.offset)).collect();
        assert_eq!(told, [Ok(7), Ok(8), Err(refused), Ok(40), Ok(41), Ok(42)]);
    }

    fn put_commit(
        queue: &mut Queue,
        topics: &[&str],
        deadline: Instant,
    ) -> oneshot::Receiver<Result<Vec<Receipt>, PublishError>> {
        let (confirm, confirmed) = oneshot::channel();
        let publishes: Vec<_> = topics.iter().map(|t| ((*t).to_owned(), v1::Message::default())).collect();
        let count = u32::try_from(topics.len().max(1)).unwrap();
        let waiter = Waiter { count, weight: 1, deadline, confirm: Some(Confirm::Commit(confirm)) };
        queue.put_commit(None, v1::Commit::default(), &publishes, waiter);
        confirmed
    }

    #[test]
    fn a_commit_is_a_request_of_its_own_with_a_receipt_for_each_topic() {
        let now = Instant::now();
        let mut queue = Queue::default();
        drop(put(&mut queue, "a", 1, now));
        let mut told = put_commit(&mut queue, &["a", "a", "b"], now);
        let mut only_settles = put_commit(&mut queue, &[], now);
        drop(put(&mut queue, "a", 1, now));
        let batches: Vec<Batch> = std::iter::from_fn(|| queue.take()).collect();
        let sizes: Vec<_> = batches.iter().map(|b| (b.messages.len(), b.outcomes())).collect();
        assert_eq!(sizes, [(1, 1), (3, 2), (0, 1), (1, 1)]);
        let commits: Vec<_> = batches.iter().map(|b| b.request().commit.is_some()).collect();
        assert_eq!(commits, [false, true, true, false]);
        let mut batches = batches.into_iter().skip(1);
        let at = |first_offset, count| Ok(v1::Receipt { first_offset, count, ..Default::default() });
        assert_eq!(batches.next().unwrap().tell_each([at(7, 2), at(0, 1)]), Room { messages: 3, bytes: 1 });
        let receipts = told.try_recv().unwrap().unwrap();
        assert_eq!(receipts.iter().map(|r| (r.offset, r.count)).collect::<Vec<_>>(), [(7, 2), (0, 1)]);
        let refused = PublishError::Refused(Refusal::new(Reason::StaleLease, "no"));
        assert_eq!(batches.next().unwrap().tell_all(&refused), Room { messages: 1, bytes: 1 });
        assert_eq!(only_settles.try_recv().unwrap(), Err(refused));
    }

    #[test]
    fn a_commit_that_was_not_sent_in_time_is_taken_out_and_told_so() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let mut told = [put_commit(&mut queue, &["a"], now), put_commit(&mut queue, &[], now)];
        let error = PublishError::NotSent { after: Duration::from_secs(1), last: None };
        assert_eq!(queue.expire(now, &error, &error), Room { messages: 2, bytes: 2 });
        assert!(queue.is_empty() && told.iter_mut().all(|t| t.try_recv().unwrap() == Err(error.clone())));
    }

    #[test]
    fn what_was_not_sent_in_time_is_taken_out_and_told_so() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let mut early = put(&mut queue, "a", 1, now);
        let mut late = put(&mut queue, "a", 2, now + Duration::from_secs(9));
        let error = PublishError::NotSent { after: Duration::from_secs(1), last: None };
        assert_eq!(queue.expire(now, &error, &error), Room { messages: 1, bytes: 1 });
        assert_eq!(early.try_recv().unwrap(), Err(error));
        assert!(late.try_recv().is_err());
        let batch = queue.take().unwrap();
        assert_eq!(batch.messages[0].len(), 2 + 2, "the second one is left");
    }

    #[test]
    fn each_waiter_gets_the_offset_of_its_own_message() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let waiters: Vec<_> = (0..3).map(|_| put(&mut queue, "a", 1, now)).collect();
        let receipt = v1::Receipt { first_offset: 40, count: 3, ..Default::default() };
        assert_eq!(queue.take().unwrap().tell_each([Ok(receipt)]), Room { messages: 3, bytes: 3 });
        let offsets: Vec<_> =
            waiters.into_iter().map(|mut w| w.try_recv().unwrap().unwrap().offset).collect();
        assert_eq!(offsets, [40, 41, 42]);
    }
}
