//! Requests: messages that are answered. The request is a message like any other; the reply is not stored.

use crate::channel::Channel;
use crate::client::Client;
use crate::error::{CallError, PublishError, RequestError};
use crate::message::Message;
use crate::options::PublisherOptions;
use crate::publisher::Publisher;
use quorate_types::{Reason, Refusal};
use quorate_wire::v1::open_inbox_response::Response as InboxEvent;
use quorate_wire::v1::requests_client::RequestsClient;
use quorate_wire::{CLIENT_BYTES_MAX, leader_of, v1};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Header of a request: where its reply goes.
const REPLY_TO: &str = "reply-to";
/// Header of a request, and beside its reply: which request it is.
const CORRELATION_ID: &str = "correlation-id";

/// The requests of a client, which share an inbox and a publisher.
#[derive(Debug)]
pub(crate) struct Requester {
    publisher: Publisher,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// Where replies go now; none while no node has the inbox.
    address: watch::Sender<Option<String>>,
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Message>>>,
    last: AtomicU64,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, oneshot::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for its reply, and no longer than it lives.
struct Waiting<'a> {
    shared: &'a Shared,
    id: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Requester {
    /// `client`: one that is not asked for requests itself.
    pub(crate) fn start(client: Client) -> Self {
        let shared = Arc::new(Shared {
            address: watch::Sender::new(None),
            waiting: Mutex::default(),
            last: AtomicU64::new(0),
        });
        let publisher = client.publisher(PublisherOptions::default());
        let task = tokio::spawn(keep_inbox(client, Arc::clone(&shared))).abort_handle();
        Self { publisher, shared, task }
    }

    async fn request(&self, topic: &str, message: Message, after: Duration) -> Result<Message, RequestError> {
        let deadline = Instant::now() + after;
        let late = |stored| RequestError::TimedOut { after, stored };
        let mut address = self.shared.address.subscribe();
        let address = timeout_at(deadline, address.wait_for(Option::is_some)).await;
        let address = address.map_err(|_| late(false))?.map_or(None, |address| address.clone());
        let address = address.ok_or_else(|| late(false))?;
        let id = self.shared.last.fetch_add(1, Ordering::Relaxed).to_string();
        let (told, reply) = oneshot::channel();
        self.shared.waiting().insert(id.clone(), told);
        let waiting = Waiting { shared: &self.shared, id };
        let message = message
            .header(REPLY_TO, address.into_bytes())
            .header(CORRELATION_ID, waiting.id.clone().into_bytes());
        // The reply may be faster than the confirm.
        let answered = async {
            let confirmed = self.publisher.publish(topic, message);
            tokio::pin!(confirmed, reply);
            let published = tokio::select! {
                biased;
                Ok(reply) = &mut reply => return Ok(reply),
                published = &mut confirmed => published,
            };
            published?;
            reply.await.map_err(|_| RequestError::Publish(PublishError::Closed))
        };
        timeout_at(deadline, answered).await.unwrap_or_else(|_| Err(late(true)))
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Publishes a message and waits for the reply of one of its consumers.
    ///
    /// The request is durable and delivered as any other message, at least once; its consumers find where to reply in its
    /// headers `reply-to` and `correlation-id` ([`crate::Delivery::reply`]). The reply is held in memory only: it is lost when
    /// this client, the node that has its inbox, or the connection between them goes. Then the request times out. The
    /// first reply counts; later ones are dropped.
    ///
    /// # Errors
    /// [`RequestError`]; its variants say whether the request may be stored.
    pub async fn request(
        &self,
        topic: &str,
        message: Message,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        // A client of its own: one that held itself would never end.
        let requester = self.requester.get_or_init(|| Requester::start(self.alike()));
        requester.request(topic, message, timeout).await
    }

    /// Replies to a request, through any node.
    ///
    /// # Errors
    /// [`CallError`]: `NO_INBOX` when nobody waits for it any more, `INVALID_ARGUMENT` when the message is no request,
    /// `OVERLOADED` when the requester does not take its replies, or no answer.
    pub async fn reply(&self, request: &Message, reply: Message) -> Result<(), CallError> {
        let (Some(address), Some(correlation_id)) = (text(request, REPLY_TO), text(request, CORRELATION_ID))
        else {
            let text =
                format!("the message asks for no reply: it has no headers {REPLY_TO} and {CORRELATION_ID}");
            return Err(CallError::Refused(Refusal::new(Reason::InvalidArgument, text)));
        };
        let request = v1::ReplyRequest { address, correlation_id, message: Some(reply.into()) };
        // Sent twice, the second one finds nobody waiting.
        let called =
            self.call(request, |channel, request| async move { client_of(channel).reply(request).await });
        called.await.result.map(drop)
    }
}

fn text(message: &Message, name: &str) -> Option<String> {
    let (_, value) = message.headers.iter().find(|(header, _)| header == name)?;
    String::from_utf8(value.to_vec()).ok()
}

fn client_of(channel: Channel) -> RequestsClient<Channel> {
    RequestsClient::new(channel)
        .max_decoding_message_size(CLIENT_BYTES_MAX)
        .max_encoding_message_size(CLIENT_BYTES_MAX)
}

/// Keeps an inbox open, on one node after the other. Ends when it is aborted.
async fn keep_inbox(client: Client, shared: Arc<Shared>) {
    let token = client.draw_identity();
    let (mut route, mut backoff) = (client.nodes.route(), client.backoff());
    loop {
        let mut next = None;
        if let Some((address, channel)) = route.current() {
            tracing::debug!(node = address, "the inbox is opened");
            let mut requests = client_of(channel);
            let open = requests.open_inbox(v1::OpenInboxRequest { token: token.clone() });
            match timeout(client.options.attempt_timeout, open).await {
                Ok(Ok(events)) => {
                    let mut events = events.into_inner();
                    while let Ok(Some(event)) = events.message().await {
                        backoff.reset();
                        take(&shared, event);
                    }
                }
                Ok(Err(status)) => next = leader_of(&status).map(str::to_owned),
                Err(_) => {}
            }
        }
        shared.address.send_replace(None);
        route.move_on(next.as_deref());
        sleep(backoff.pause()).await;
    }
}

fn take(shared: &Shared, event: v1::OpenInboxResponse) {
    match event.response {
        Some(InboxEvent::Opened(opened)) => {
            shared.address.send_replace(Some(opened.address));
        }
        Some(InboxEvent::Reply(reply)) => {
            let waiting = shared.waiting().remove(&reply.correlation_id);
            if let Some(waiting) = waiting {
                // Who has given up does not want to know.
                drop(waiting.send(reply.message.unwrap_or_default().into()));
            }
        }
        None => {}
    }
}
