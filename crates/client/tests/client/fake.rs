//! A node that keeps its promises in memory, breaks connections when told so, and records what it was sent.

use futures::StreamExt;
use futures::stream::BoxStream;
use quorate_types::{Reason, Refusal};
use quorate_wire::v1::consume_request::Request as ConsumeKind;
use quorate_wire::v1::consume_response::Response as Consumed;
use quorate_wire::v1::consumer_server::{Consumer, ConsumerServer};
use quorate_wire::v1::publisher_server::{Publisher, PublisherServer};
use quorate_wire::v1::{publish_response::Outcome, topic_outcome};
use quorate_wire::{Listen, ServerOptions, TcpNet, error_of, server, status_of, v1};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// What the node does with the requests that come next, instead of doing them and answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Break the stream, having done nothing.
    Break,
    /// Do it, then break the stream without an answer.
    DoAndBreak,
    /// Answer with an error that says this.
    Say(Reason),
    /// Do it and say nothing, for ever.
    Swallow,
    /// Do it and answer a second later.
    Late,
}

/// What became of the messages to one topic.
pub(crate) type Stored = Result<v1::Receipt, Refusal>;

#[derive(Default)]
pub(crate) struct State {
    /// Sessions with the answers, each of which has an outcome for each topic of its request.
    pub(crate) sessions: BTreeMap<u64, Vec<Vec<Stored>>>,
    /// Payloads, in order over all topics.
    pub(crate) stored: Vec<Vec<u8>>,
    /// The topic that is not there.
    pub(crate) unknown_topic: &'static str,
    /// (session, sequence, messages) of every publish request, done or not.
    pub(crate) requests: Vec<(u64, u64, usize)>,
    pub(crate) streams: usize,
    pub(crate) tricks: VecDeque<Trick>,
    pub(crate) settles: Vec<v1::Settle>,
    /// What each next attachment is sent.
    pub(crate) deliveries: VecDeque<v1::Deliveries>,
    pub(crate) attaches: Vec<v1::Attach>,
    pub(crate) refuse_attach: Option<Reason>,
    /// Producers: the session and the epoch of each.
    pub(crate) producers: BTreeMap<String, (u64, u64)>,
    /// Somebody else opens this producer before the next stream is served.
    pub(crate) fence_next_stream: Option<String>,
    fenced: BTreeSet<u64>,
    last_session: u64,
}

impl State {
    fn open_producer(&mut self, name: &str) -> v1::OpenProducerResponse {
        self.last_session += 1;
        let session = self.last_session;
        let former = self.producers.get(name).copied();
        let answers = former.and_then(|(former, _)| self.sessions.remove(&former)).unwrap_or_default();
        let (last_sequence, epoch) = (answers.len() as u64, former.map_or(1, |(_, epoch)| epoch + 1));
        self.fenced.extend(former.map(|(former, _)| former));
        self.sessions.insert(session, answers);
        self.producers.insert(name.to_owned(), (session, epoch));
        v1::OpenProducerResponse { session, epoch, last_sequence, timeout_ms: 1, leader: String::new() }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    /// Ends every consumer's stream.
    pub(crate) cut: Arc<Notify>,
}

impl Fake {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Serves on a free port; returns its address.
    pub(crate) async fn serve(&self) -> String {
        let bound = TcpNet.bind("127.0.0.1:0").await.unwrap();
        let router = server(&ServerOptions::default())
            .add_service(PublisherServer::new(self.clone()))
            .add_service(ConsumerServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(bound.incoming));
        bound.address.to_string()
    }

    fn publish(&self, request: v1::PublishRequest) -> Result<Vec<Stored>, Refusal> {
        let state = &mut *self.state();
        let Some(answers) = state.sessions.get_mut(&request.session) else {
            let fenced = state.fenced.contains(&request.session);
            let reason = if fenced { Reason::ProducerFenced } else { Reason::SessionNotFound };
            return Err(Refusal::new(reason, "no such session"));
        };
        let last = answers.len() as u64;
        if request.sequence <= last {
            return Ok(answers[usize::try_from(request.sequence - 1).unwrap()].clone());
        }
        if request.sequence != last + 1 {
            return Err(Refusal::new(Reason::SequenceGap, "an earlier request is missing"));
        }
        let first = v1::TopicMessages {
            topic: request.topic.into(),
            messages: request.messages,
            ..Default::default()
        };
        let mut outcomes = Vec::new();
        for v1::TopicMessages { topic, messages, .. } in std::iter::once(first).chain(request.more) {
            if topic == state.unknown_topic {
                outcomes.push(Err(Refusal::new(Reason::TopicNotFound, "there is no such topic")));
                continue;
            }
            outcomes.push(Ok(v1::Receipt {
                first_offset: state.stored.len() as u64,
                count: u32::try_from(messages.len()).unwrap(),
                index: last,
                ..Default::default()
            }));
            let payloads = messages.iter().map(|m| quorate_wire::message_view(m).unwrap().payload.to_vec());
            state.stored.extend(payloads);
        }
        answers.push(outcomes.clone());
        Ok(outcomes)
    }

    /// The answer to send; `Ok(None)`: none. An error breaks the stream.
    fn answer(&self, request: v1::PublishRequest) -> Result<Option<v1::PublishResponse>, Status> {
        let sequence = request.sequence;
        let trick = {
            let mut state = self.state();
            let more = request.more.iter().map(|more| more.messages.len()).sum::<usize>();
            state.requests.push((request.session, sequence, request.messages.len() + more));
            state.tricks.pop_front()
        };
        let broken = || Status::unavailable("broken off");
        let outcome = match trick {
            Some(Trick::Break) => return Err(broken()),
            Some(Trick::DoAndBreak) => return self.publish(request).map(|_| Err(broken())).unwrap(),
            Some(Trick::Swallow) => return self.publish(request).map(|_| Ok(None)).unwrap(),
            Some(Trick::Say(reason)) => Err(Refusal::new(reason, "as told")),
            Some(Trick::Late) | None => self.publish(request),
        };
        let mut outcomes = outcome.unwrap_or_else(|refusal| vec![Err(refusal)]).into_iter();
        let outcome = outcomes.next().map(|first| match first {
            Ok(receipt) => Outcome::Receipt(receipt),
            Err(refusal) => Outcome::Error(error_of(&refusal, None)),
        });
        let more = outcomes.map(|more| match more {
            Ok(receipt) => topic_outcome::Outcome::Receipt(receipt),
            Err(refusal) => topic_outcome::Outcome::Error(error_of(&refusal, None)),
        });
        let more = more.map(|outcome| v1::TopicOutcome { outcome: Some(outcome) }).collect();
        Ok(Some(v1::PublishResponse { sequence, outcome, more }))
    }
}

#[tonic::async_trait]
impl Publisher for Fake {
    async fn open_session(
        &self,
        _: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let mut state = self.state();
        state.last_session += 1;
        let session = state.last_session;
        state.sessions.insert(session, Vec::new());
        Ok(Response::new(v1::OpenSessionResponse { session, timeout_ms: 1_000, leader: String::new() }))
    }

    async fn open_producer(
        &self,
        request: Request<v1::OpenProducerRequest>,
    ) -> Result<Response<v1::OpenProducerResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.instance.len(), 16);
        Ok(Response::new(self.state().open_producer(&request.producer)))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.state().sessions.remove(&request.into_inner().session);
        Ok(Response::new(v1::CloseSessionResponse {}))
    }

    async fn publish(&self, _: Request<v1::PublishRequest>) -> Result<Response<v1::PublishResponse>, Status> {
        Err(Status::unimplemented("the client publishes in streams"))
    }

    type PublishStreamStream = BoxStream<'static, Result<v1::PublishResponse, Status>>;

    async fn publish_stream(
        &self,
        requests: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        {
            let mut state = self.state();
            state.streams += 1;
            if state.streams > 1
                && let Some(name) = state.fence_next_stream.take()
            {
                state.open_producer(&name);
            }
        }
        let fake = self.clone();
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut requests = requests.into_inner();
            while let Some(Ok(request)) = requests.next().await {
                if fake.state().tricks.front() == Some(&Trick::Late) {
                    sleep(Duration::from_secs(1)).await;
                }
                let answer = fake.answer(request);
                let broken = answer.is_err();
                if let Some(answer) = answer.transpose()
                    && (sender.send(answer).await.is_err() || broken)
                {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }
}

#[tonic::async_trait]
impl Consumer for Fake {
    type ConsumeStream = BoxStream<'static, Result<v1::ConsumeResponse, Status>>;

    async fn consume(
        &self,
        requests: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        if let Some(reason) = self.state().refuse_attach {
            return Err(status_of(&Refusal::new(reason, "the subscription \"s\" does not exist")));
        }
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(consume(self.clone(), requests.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }
}

async fn consume(
    fake: Fake,
    mut requests: Streaming<v1::ConsumeRequest>,
    sender: mpsc::Sender<Result<v1::ConsumeResponse, Status>>,
) {
    let send =
        async |response| sender.send(Ok(v1::ConsumeResponse { response: Some(response) })).await.is_ok();
    loop {
        let request = tokio::select! {
            biased;
            () = fake.cut.notified() => {
                let _ = sender.send(Err(Status::unavailable("cut"))).await;
                return;
            }
            request = requests.next() => request,
        };
        let Some(Ok(request)) = request else { return };
        match request.request {
            Some(ConsumeKind::Attach(attach)) => {
                let credit = attach.credit;
                let deliveries = {
                    let mut state = fake.state();
                    state.attaches.push(attach);
                    state.deliveries.pop_front()
                };
                let attached = v1::Attached { consumer: "1.1".into(), node: 1, credit };
                send(Consumed::Attached(attached)).await;
                if let Some(deliveries) = deliveries {
                    send(Consumed::Deliveries(deliveries)).await;
                }
            }
            Some(ConsumeKind::Settle(settle)) => {
                let results = settle
                    .settlements
                    .iter()
                    .map(|s| v1::SettleResult { settled: s.last - s.first + 1, stale: 0 });
                let settled = v1::Settled { id: settle.id, results: results.collect(), error: None };
                fake.state().settles.push(settle);
                send(Consumed::Settled(settled)).await;
            }
            _ => {}
        }
    }
}
