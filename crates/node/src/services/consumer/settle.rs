//! Settlements as clients write them, and their answers.

use crate::forwarder;
use quorate_machine::{Answer, Backoff, Settlement, Verdict};
use quorate_types::{Reason, Refusal};
use quorate_wire::{error_of, v1};

/// Checks the settlements of a request.
///
/// # Errors
/// `INVALID_ARGUMENT` or `LIMIT_REACHED`, naming the first that is wrong.
pub(in crate::services) fn settlements(given: &[v1::Settlement]) -> Result<Vec<Settlement>, Refusal> {
    if given.is_empty() {
        return Err(invalid("the settle has no settlements: give at least one"));
    }
    check_count(given.len())?;
    given.iter().enumerate().map(|(at, one)| settlement(at, one)).collect()
}

/// Settlements of one request: what one entry may do (DESIGN §6.8).
///
/// # Errors
/// `LIMIT_REACHED`.
pub(in crate::services) fn check_count(count: usize) -> Result<(), Refusal> {
    let max = Settlement::PER_OP_MAX;
    if count > max {
        let text = format!("the settle has {count} settlements; the limit is {max}");
        return Err(Refusal::new(Reason::LimitReached, text));
    }
    Ok(())
}

fn settlement(at: usize, given: &v1::Settlement) -> Result<Settlement, Refusal> {
    let verdict = match v1::Verdict::try_from(given.verdict) {
        Ok(v1::Verdict::Ack) => Verdict::Ack,
        Ok(v1::Verdict::Nack) => given.delay_ms.map_or(Ok(Verdict::Nack), |ms| nack_after(at, ms))?,
        Ok(v1::Verdict::Reject) => Verdict::Reject,
        Ok(v1::Verdict::Extend) => Verdict::Extend,
        Ok(v1::Verdict::Unspecified) | Err(_) => {
            return Err(invalid(&format!("settlement {at} has no verdict: say ack, nack, reject or extend")));
        }
    };
    if given.delay_ms.is_some() && !matches!(verdict, Verdict::NackAfter { .. }) {
        return Err(invalid(&format!("settlement {at} has a delay and is no nack: leave the delay out")));
    }
    if given.last < given.first {
        let text = format!("settlement {at} ends at {} before it begins at {}", given.last, given.first);
        return Err(invalid(&text));
    }
    Ok(Settlement { first: given.first, last: given.last, attempt: given.attempt, verdict })
}

fn nack_after(at: usize, delay_ms: u64) -> Result<Verdict, Refusal> {
    let max_ms = Backoff::DELAY_MAX.as_millis();
    let delay = u32::try_from(delay_ms).ok().filter(|ms| u128::from(*ms) <= max_ms);
    delay.map(|delay_ms| Verdict::NackAfter { delay_ms }).ok_or_else(|| {
        invalid(&format!(
            "settlement {at} asks for a delay of {delay_ms} ms; the limit is {max_ms} (7 days): ask for less"
        ))
    })
}

/// The answer to a settle.
pub(super) fn settled(id: u64, answer: forwarder::Answer) -> v1::Settled {
    match answer.reply {
        Ok(Answer::Settled { results }) => {
            let result =
                |r: quorate_machine::SettleResult| v1::SettleResult { settled: r.settled, stale: r.stale };
            v1::Settled { id, results: results.into_iter().map(result).collect(), error: None }
        }
        Ok(other) => {
            let text = format!("unexpected answer {other:?}: a node of another version leads");
            refused(id, &Refusal::new(Reason::NotReady, text))
        }
        Err(refusal) => refused(id, &refusal),
    }
}

/// The answer to a settle that was not done.
pub(super) fn refused(id: u64, refusal: &Refusal) -> v1::Settled {
    v1::Settled { id, results: Vec::new(), error: Some(error_of(refusal, None)) }
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(Reason::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(first: u64, last: u64, verdict: v1::Verdict) -> v1::Settlement {
        v1::Settlement { first, last, attempt: 1, verdict: verdict.into(), delay_ms: None }
    }

    #[test]
    fn settlements_that_make_no_sense_are_refused() {
        let reason = |given: &[v1::Settlement]| settlements(given).map_err(|r| r.reason);
        assert_eq!(reason(&[]), Err(Reason::InvalidArgument));
        assert_eq!(reason(&[one(2, 1, v1::Verdict::Ack)]), Err(Reason::InvalidArgument));
        assert_eq!(reason(&[one(1, 2, v1::Verdict::Unspecified)]), Err(Reason::InvalidArgument));
        assert_eq!(reason(&vec![one(1, 1, v1::Verdict::Ack); 10_001]), Err(Reason::LimitReached));
        let verdict =
            |given: v1::Settlement| settlements(&[given]).map(|all| all[0].verdict).map_err(|r| r.reason);
        assert_eq!(verdict(one(1, 2, v1::Verdict::Nack)), Ok(Verdict::Nack));
        assert_eq!(verdict(one(1, 2, v1::Verdict::Extend)), Ok(Verdict::Extend));
        let delayed = |ms, verdict| v1::Settlement { delay_ms: Some(ms), ..one(1, 2, verdict) };
        let nack = |ms| verdict(delayed(ms, v1::Verdict::Nack));
        assert_eq!(nack(0), Ok(Verdict::NackAfter { delay_ms: 0 }));
        assert_eq!(nack(604_800_000), Ok(Verdict::NackAfter { delay_ms: 604_800_000 }));
        assert_eq!(nack(604_800_001), Err(Reason::InvalidArgument));
        assert_eq!(nack(u64::MAX), Err(Reason::InvalidArgument));
        assert_eq!(verdict(delayed(5, v1::Verdict::Ack)), Err(Reason::InvalidArgument));
    }
}
