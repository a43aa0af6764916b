//! The numbered conversation in which a client changes topics, subscriptions and bindings.
//!
//! A change that a node did not answer may still be done later, after it was repeated through another one and after what the
//! caller did next: a second purge would take messages that were published after the first. So each change has a number, and
//! all its attempts the same one.

use crate::channel::Channel;
use crate::client::{Called, Client};
use crate::error::CallError;
use crate::layout::is_elsewhere;
use quorate_types::Reason;
use quorate_wire::v1::admin_client::AdminClient;
use quorate_wire::v1::publisher_client::PublisherClient;
use quorate_wire::{Scope, v1};
use std::future::Future;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};
use tonic::{Response, Status};

/// A session outlives a call of the longest by so much that it cannot end between two attempts of one change.
const SESSION_TIMEOUT_PER_CALL: u32 = 4;
/// What a session lasts at least: the next change of a program often comes soon.
const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(60);

/// The conversation of all clones of a client.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next change has its place.
    open: Option<Open>,
    /// A session in which something may still be done late: it is closed before anything else is changed.
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    session: u64,
    next: u64,
    used: Instant,
}

/// A request of `quorate.v1.Admin` that has a place in a numbered conversation.
pub(crate) trait Change: Clone {
    /// It, under this number.
    fn under(self, number: v1::Number) -> Self;

    /// It, on this shard.
    fn on(self, shard: Option<u32>) -> Self;

    /// How many operations it consists of.
    fn numbers(&self) -> u64 {
        1
    }
}

macro_rules! changes {
    ($($request:ident),* $(,)?) => {$(
        impl Change for v1::$request {
            fn under(self, number: v1::Number) -> Self {
                Self { number: Some(number), ..self }
            }

            fn on(self, shard: Option<u32>) -> Self {
                Self { shard, ..self }
            }
        }
    )*};
}

changes! {
    CreateTopicRequest,
    ConfigureTopicRequest,
    DeleteTopicRequest,
    DeleteSubscriptionRequest,
    PurgeSubscriptionRequest,
    SeekSubscriptionRequest,
    MarkSubscriptionRequest,
    DeleteMarkRequest,
    CancelScheduledRequest,
    DeleteProducerRequest,
    BindRequest,
    UnbindRequest,
    BindTopicRequest,
    UnbindTopicRequest,
}

impl Change for v1::CreateSubscriptionRequest {
    fn under(self, number: v1::Number) -> Self {
        Self { number: Some(number), ..self }
    }

    fn on(self, shard: Option<u32>) -> Self {
        Self { shard, ..self }
    }

    /// Each binding is one of its own.
    fn numbers(&self) -> u64 {
        1 + self.bindings.len() as u64
    }
}

impl Client {
    /// Changes something on the shards that it concerns, one after the other, once on each. Answers of all of them, in the order
    /// in which they were asked: one at least. What one refuses those before it have done: it may be repeated.
    pub(crate) async fn change<Q, T, F, A>(
        &self,
        scope: Scope<'_>,
        request: Q,
        attempt: F,
    ) -> Result<Vec<T>, CallError>
    where
        Q: Change,
        F: Fn(AdminClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        if let Some(done) = self.change_alone(&request, &attempt).await? {
            return Ok(vec![done]);
        }
        let (mut answers, mut missing) = (Vec::new(), None);
        for part in self.shards_of(scope).await? {
            match part.change_once(request.clone().on(part.shard), &attempt).await {
                Ok(answer) => answers.push(answer),
                Err(CallError::Refused(refusal)) if scope.may_be_missing(refusal.reason) => {
                    missing = Some(refusal);
                }
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(refusal) if answers.is_empty() => Err(CallError::Refused(refusal)),
            _ => Ok(answers),
        }
    }

    /// Changes something on the only shard, or the one that this client is for. `None`: there are several, and nothing was done.
    pub(crate) async fn change_alone<Q, T, F, A>(
        &self,
        request: &Q,
        attempt: &F,
    ) -> Result<Option<T>, CallError>
    where
        Q: Change,
        F: Fn(AdminClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        if !self.seems_alone() {
            return Ok(None);
        }
        let done = self.change_once(request.clone().on(self.shard), attempt).await;
        if self.shard.is_none() && is_elsewhere(&done) {
            return Ok(None);
        }
        done.map(Some)
    }

    /// Changes something on one shard, once, through however many nodes it is asked of. When it is answered, nothing of it comes
    /// later.
    ///
    /// `request`: what is asked, whatever number it has. One change at a time; others wait.
    async fn change_once<Q, T, F, A>(&self, request: Q, attempt: &F) -> Result<T, CallError>
    where
        Q: Change,
        F: Fn(AdminClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut state = self.changes.state.lock().await;
        loop {
            let open = self.conversation(&mut state).await?;
            let number = v1::Number { session: open.session, sequence: open.next };
            // Unless it ends well: whoever drops this future leaves a change behind that may still be done.
            state.left = Some(open.session);
            let Called { result, repeated } = self.admin(request.clone().under(number), attempt).await;
            match &result {
                Ok(_) => {
                    state.left = None;
                    state.open =
                        Some(Open { next: open.next + request.numbers(), used: Instant::now(), ..open });
                }
                Err(CallError::Refused(refusal)) if refusal.reason == Reason::SessionNotFound => {
                    state.left = None;
                    if !repeated {
                        // It ended before: certainly nothing was done.
                        continue;
                    }
                }
                Err(_) => {}
            }
            return result;
        }
    }

    async fn conversation(&self, state: &mut State) -> Result<Open, CallError> {
        let timeout = (self.options.call_timeout * SESSION_TIMEOUT_PER_CALL).max(SESSION_TIMEOUT_MIN);
        if let Some(session) = state.left {
            self.close_conversation(session).await?;
            state.left = None;
        }
        if let Some(open) = state.open.take().filter(|open| open.used.elapsed() < timeout / 2) {
            return Ok(open);
        }
        let request = v1::OpenSessionRequest {
            namespace: self.here(),
            topic: String::new(),
            shard: self.shard,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let opened = self.call(request, |channel, request| async move {
            PublisherClient::new(channel).open_session(request).await
        });
        let session = opened.await.result?.session;
        Ok(Open { session, next: 1, used: Instant::now() })
    }

    async fn close_conversation(&self, session: u64) -> Result<(), CallError> {
        let request = v1::CloseSessionRequest { namespace: self.here(), topic: String::new(), session };
        let closed = self.call(request, |channel, request| async move {
            PublisherClient::new(channel).close_session(request).await
        });
        match closed.await.result {
            Err(CallError::Refused(refusal)) if refusal.reason == Reason::SessionNotFound => Ok(()),
            // Its namespace is gone, and the session with it.
            Err(CallError::Refused(refusal)) if refusal.reason == Reason::NamespaceNotFound => Ok(()),
            result => result.map(|_| ()),
        }
    }
}
