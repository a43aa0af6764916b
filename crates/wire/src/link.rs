//! Members and errors as peers write them.

use crate::peer::{ForwardError, Member, Peer};
use crate::status::reason_or;
use quorate_types::{Incarnation, NodeId, Reason, Refusal, Voter};

/// A voter as peers write it.
#[must_use]
pub fn member(voter: Voter) -> Member {
    Member { node: voter.node.get(), incarnation: voter.incarnation.get() }
}

/// The voter that a peer wrote.
#[must_use]
pub fn voter(member: &Member) -> Voter {
    Voter { node: NodeId::new(member.node), incarnation: Incarnation::new(member.incarnation) }
}

/// Why a forwarded operation is not known to be done, for `ForwardResponse.error`.
#[must_use]
pub fn forward_error(refusal: &Refusal, leader: Option<Peer>) -> ForwardError {
    ForwardError { reason: refusal.reason.code().to_owned(), message: refusal.message.clone(), leader }
}

/// The refusal in a `ForwardResponse.error`. A code that this node does not know is `UNAVAILABLE`: all of them are retryable.
#[must_use]
pub fn refusal_of_forward(error: &ForwardError) -> Refusal {
    Refusal::new(reason_or(&error.reason, Reason::Unavailable), error.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_forward_errors_survive_the_round_trip() {
        let me = Voter { node: NodeId::new(3), incarnation: Incarnation::new(u64::MAX) };
        assert_eq!(voter(&member(me)), me);
        let refusal = Refusal::new(Reason::NotLeader, "group 1 is led by node 2");
        assert_eq!(refusal_of_forward(&forward_error(&refusal, None)), refusal);
        let newer = ForwardError { reason: "FROM_THE_FUTURE".into(), message: "x".into(), leader: None };
        assert!(refusal_of_forward(&newer).is_retryable());
    }
}
