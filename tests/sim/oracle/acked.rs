//! A committed settle is final: an acked or rejected message has no further attempt, and is settled once.

use super::Violation;
use super::history::{Arrival, History, Verdict};

const NAME: &str = "acked";

pub(super) fn arrival(history: &mut History, arrival: &Arrival) -> Result<(), Violation> {
    let subscription = history.subscriptions.get(&arrival.subscription);
    let ended = subscription.and_then(|s| s.ended.get(&arrival.position)).copied();
    match ended {
        Some(attempt) if arrival.attempt > attempt => {
            let what = format!(
                "position {} of subscription {} was settled for good in attempt {attempt} and came again in attempt {}",
                arrival.position, arrival.subscription, arrival.attempt
            );
            Err(Violation::new(NAME, what))
        }
        _ => Ok(()),
    }
}

pub(super) fn settled(
    history: &mut History,
    subscription: u64,
    position: u64,
    attempt: u32,
    verdict: Verdict,
) -> Result<(), Violation> {
    let Some(state) = history.subscriptions.get_mut(&subscription) else { return Ok(()) };
    if matches!(verdict, Verdict::Nack | Verdict::Extend) {
        return Ok(());
    }
    let later = state.leases.range((position, attempt + 1)..=(position, u32::MAX)).next();
    if let Some(((_, later), _)) = later {
        let what = format!(
            "attempt {attempt} of position {position} of subscription {subscription} was settled, although attempt {later} had begun"
        );
        return Err(Violation::new(NAME, what));
    }
    if verdict == Verdict::Reject {
        state.rejected.insert(position);
    }
    let before = *state.ended.entry(position).or_insert(attempt);
    if before != attempt {
        let what = format!(
            "position {position} of subscription {subscription} was settled for good in attempts {before} and {attempt}"
        );
        return Err(Violation::new(NAME, what));
    }
    Ok(())
}
