//! A reply comes to the one who asked, at most once, and nobody gets one that was not given.

use super::Violation;
use super::history::{Uid, uid_of};
use std::collections::{BTreeMap, BTreeSet};

/// The replies of a run.
#[derive(Default)]
pub(crate) struct Replies {
    /// Each has a number, and is to one request.
    given: BTreeMap<u64, Uid>,
    /// Those that came to a requester.
    came: BTreeSet<u64>,
}

impl Replies {
    /// A reply to the request that has this payload; `None` when that is not one of ours.
    pub(crate) fn give(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let number = self.given.len() as u64;
        self.given.insert(number, uid_of(request)?);
        Some(number.to_le_bytes().to_vec())
    }

    /// A reply came to who asked `request`.
    pub(crate) fn came(&mut self, request: Uid, reply: &[u8]) -> Result<(), Violation> {
        let number = reply.try_into().ok().map(u64::from_le_bytes);
        let what = match number.and_then(|number| Some((number, *self.given.get(&number)?))) {
            None => format!("request {} got a reply that nobody gave", request.0),
            Some((number, to)) if to != request => {
                format!("reply {number}, to request {}, came to who asked request {}", to.0, request.0)
            }
            Some((number, _)) if !self.came.insert(number) => {
                format!("reply {number}, to request {}, came twice", request.0)
            }
            Some(_) => return Ok(()),
        };
        Err(Violation::new("replies", what))
    }
}
