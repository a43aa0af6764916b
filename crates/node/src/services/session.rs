//! A client's session as clients know it: with the group that it belongs to.
//!
//! Every group counts its sessions from 1. A namespace that is deleted and created again is another group, in which the former
//! one's ids are somebody else's: a publisher that goes on under its number would use up the other's.

use quorate_types::{GroupId, Reason, Refusal, SessionId};

/// Bits below are the session's: a thousand a second would fill them in 34 years. Those above are the group's.
const SESSION_BITS: u32 = 40;
const SESSION_MASK: u64 = (1 << SESSION_BITS) - 1;

/// What a client is told. Never 0.
pub(crate) fn for_client(group: GroupId, session: SessionId) -> u64 {
    group.get() << SESSION_BITS | session.get() & SESSION_MASK
}

/// The group that a client's session is with, as the client says it. Whether there is such a group is not known.
pub(crate) fn group_of(given: u64) -> GroupId {
    GroupId::new(given >> SESSION_BITS)
}

/// What it said; [`SessionId::NONE`] for 0.
///
/// # Errors
/// `SESSION_NOT_FOUND` when the session is not of this group.
pub(crate) fn of_client(group: GroupId, given: u64) -> Result<SessionId, Refusal> {
    let session = SessionId::new(given & SESSION_MASK);
    if given != 0 && given != for_client(group, session) {
        let text =
            format!("session {given} ended with the namespace that it was opened in: open another one");
        return Err(Refusal::new(Reason::SessionNotFound, text));
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_in_its_own_group_only() {
        let (here, there) = (GroupId::new(7), GroupId::new(8));
        let given = for_client(here, SessionId::new(3));
        assert_eq!(group_of(given), here);
        assert_eq!(of_client(here, given), Ok(SessionId::new(3)));
        assert_eq!(of_client(there, given).map_err(|r| r.reason), Err(Reason::SessionNotFound));
        assert_eq!(of_client(here, 3).map_err(|r| r.reason), Err(Reason::SessionNotFound));
        assert_eq!(of_client(here, 0), Ok(SessionId::NONE));
    }
}
