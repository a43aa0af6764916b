//! Inboxes of this node: where the replies to a client's requests come in. In memory only, and gone with their stream.

use crate::metrics::DataMetrics;
use quorate_types::probe;
use quorate_types::{NodeId, Reason, Refusal};
use quorate_wire::v1;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Inboxes of a node; one client has one.
const INBOXES_MAX: usize = 10_000;
/// Replies that may wait in one to be written to its stream: as many, …
const REPLIES_MAX: usize = 1_000;
/// … and as many bytes. A larger reply waits alone.
const BYTES_MAX: usize = 4 << 20;
/// Flat cost of a reply.
const REPLY_BYTES: usize = 256;

/// What tells an inbox from all others; drawn at random by its client.
pub(crate) type Token = [u8; 16];

/// Where an inbox is. Its text is `NODE.TOKEN`, the token in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) node: NodeId,
    pub(crate) token: Token,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:032x}", self.node, u128::from_be_bytes(self.token))
    }
}

impl FromStr for Address {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parse = || {
            let (node, token) = text.split_once('.')?;
            let digits = token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit());
            let token = u128::from_str_radix(token, 16).ok().filter(|_| digits)?;
            Some(Self { node: NodeId::new(node.parse().ok()?), token: token.to_be_bytes() })
        };
        parse().ok_or_else(|| {
            let text = format!("{text:?} is no address of an inbox: take it as it came in the request");
            Refusal::new(Reason::InvalidArgument, text)
        })
    }
}

/// A reply that waits to be written; holds its room until then.
pub(crate) struct Waiting {
    pub(crate) reply: v1::InboxReply,
    _room: OwnedSemaphorePermit,
}

/// All inboxes of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inboxes {
    open: Arc<Mutex<Open>>,
    metrics: DataMetrics,
}

#[derive(Default)]
struct Open {
    by_token: BTreeMap<Token, Inbox>,
    /// Numbers them, so that one that is opened again is not closed by the end of the former stream.
    last: u64,
}

struct Inbox {
    number: u64,
    replies: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Open {
    fn inbox(&self, token: &Token) -> Option<&Inbox> {
        if probe::planted("a reply goes to another inbox") {
            return self.by_token.values().next();
        }
        self.by_token.get(token)
    }
}

/// An open inbox; closed when this is dropped.
pub(crate) struct Opened {
    pub(crate) replies: mpsc::Receiver<Waiting>,
    inboxes: Inboxes,
    token: Token,
    number: u64,
}

impl Inboxes {
    pub(crate) fn new(metrics: DataMetrics) -> Self {
        Self { open: Arc::default(), metrics }
    }

    /// Opens an inbox. One that is open under the same token ends: its client has lost the connection.
    ///
    /// # Errors
    /// `LIMIT_REACHED` when the node has as many as it may.
    pub(crate) fn open(&self, token: Token) -> Result<Opened, Refusal> {
        let mut open = self.lock();
        if open.by_token.len() >= INBOXES_MAX && !open.by_token.contains_key(&token) {
            let text =
                format!("this node has {INBOXES_MAX} inboxes, the most that it may have: use another one");
            return Err(Refusal::new(Reason::LimitReached, text));
        }
        open.last += 1;
        let number = open.last;
        let (replies, taken) = mpsc::channel(REPLIES_MAX);
        open.by_token.insert(token, Inbox { number, replies, room: Arc::new(Semaphore::new(BYTES_MAX)) });
        Ok(Opened { replies: taken, inboxes: self.clone(), token, number })
    }

    /// Puts a reply in.
    ///
    /// # Errors
    /// `NO_INBOX`; `OVERLOADED` when it is full: the reply is dropped, and counted.
    pub(crate) fn put(&self, token: Token, reply: v1::InboxReply) -> Result<(), Refusal> {
        let (replies, room) = match self.lock().inbox(&token) {
            Some(inbox) => (inbox.replies.clone(), Arc::clone(&inbox.room)),
            None => return Err(no_inbox()),
        };
        let bytes = REPLY_BYTES + prost::Message::encoded_len(&reply);
        let bytes = u32::try_from(bytes.min(BYTES_MAX)).unwrap_or(u32::MAX);
        let Ok(room) = room.try_acquire_many_owned(bytes) else { return Err(self.full()) };
        match replies.try_send(Waiting { reply, _room: room }) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.full()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(no_inbox()),
        }
    }

    fn full(&self) -> Refusal {
        self.metrics.reply_dropped();
        Refusal::new(Reason::Overloaded, "the inbox is full: its client does not take its replies")
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.inboxes.lock();
        if open.by_token.get(&self.token).is_some_and(|inbox| inbox.number == self.number) {
            open.by_token.remove(&self.token);
        }
    }
}

/// Nobody is there to take the reply.
pub(crate) fn no_inbox() -> Refusal {
    probe::sometimes("reply found no inbox");
    Refusal::new(Reason::NoInbox, "nobody waits for the reply any more: the requester, or its node, is gone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn inboxes() -> Inboxes {
        Inboxes::new(DataMetrics::new(&mut Registry::default()))
    }

    fn reply(bytes: usize) -> v1::InboxReply {
        let message = v1::Message { payload: vec![7; bytes].into(), ..Default::default() };
        v1::InboxReply { correlation_id: "1".to_owned(), message: Some(message) }
    }

    fn reason(put: Result<(), Refusal>) -> Option<Reason> {
        put.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn an_address_survives_its_text_and_nothing_else_is_one() {
        let address = Address { node: NodeId::new(3), token: [0xab; 16] };
        assert_eq!(address.to_string().parse(), Ok(address));
        for text in ["", "3", "3.", "x.00", "3.+b", "3.zz"] {
            assert_eq!(text.parse::<Address>().map_err(|r| r.reason), Err(Reason::InvalidArgument));
        }
    }

    #[test]
    fn a_reply_comes_to_its_inbox_while_that_is_open() {
        let inboxes = inboxes();
        let mut mine = inboxes.open([1; 16]).unwrap_or_else(|_| unreachable!());
        let other = inboxes.open([2; 16]).unwrap_or_else(|_| unreachable!());
        assert_eq!(inboxes.put([1; 16], reply(1)), Ok(()));
        assert!(mine.replies.try_recv().is_ok_and(|waiting| waiting.reply == reply(1)));
        assert!(mine.replies.try_recv().is_err());
        // Opened again, the former one's end does not close it.
        let again = inboxes.open([1; 16]).unwrap_or_else(|_| unreachable!());
        drop(mine);
        assert_eq!(inboxes.put([1; 16], reply(1)), Ok(()));
        drop((again, other));
        assert_eq!(reason(inboxes.put([1; 16], reply(1))), Some(Reason::NoInbox));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_room_comes_back_as_replies_are_taken() {
        let inboxes = inboxes();
        let mut inbox = inboxes.open([1; 16]).unwrap_or_else(|_| unreachable!());
        let fit = (0..).take_while(|_| inboxes.put([1; 16], reply(1 << 20)).is_ok()).count();
        assert_eq!(fit, 3, "of four megabytes");
        assert_eq!(reason(inboxes.put([1; 16], reply(1 << 20))), Some(Reason::Overloaded));
        assert!(inbox.replies.try_recv().is_ok());
        assert_eq!(inboxes.put([1; 16], reply(1 << 20)), Ok(()));
        while inbox.replies.try_recv().is_ok() {}
        let fit = (0..).take_while(|_| inboxes.put([1; 16], reply(1)).is_ok()).count();
        assert_eq!(fit, REPLIES_MAX);
    }
}
