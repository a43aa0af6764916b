//! `quorate.v1.Reader`: what is in a subscription, where a message is, and what became of it.

use super::reader::{RESPONSE_BYTES_MAX, ReaderService, beyond_end};
use crate::delivery::Cutter;
use quorate_machine::{
    Ended, Machine, Outcome, Peek, PeekStates, Peeked, PeekedState, Shard, TopicView, TraceRoute,
};
use quorate_types::{Reason, Refusal};
use quorate_wire as wire;
use quorate_wire::{MessageView, v1};

/// Messages of one look into a subscription.
const PEEK_MAX: u32 = 1_000;
const PEEK_DEFAULT: u32 = 100;

impl ReaderService {
    pub(super) async fn peek_checked(&self, request: v1::PeekRequest) -> Result<v1::PeekResponse, Refusal> {
        let name = wire::subscription(&request.subscription)?;
        let limit = if request.limit == 0 { PEEK_DEFAULT } else { request.limit.min(PEEK_MAX) };
        let states = states_of(&request.states)?;
        let at = self.gateway().shard(&request.namespace, request.shard).await?;
        let running = Box::pin(self.replica(at, request.linearizable)).await?;
        let look = || {
            let peek = |m: &Machine| m.shard().map(|s| s.peek(&name, request.position, limit.into(), states));
            running.group.read(peek).unwrap_or(Ok(Peek { runs: Vec::new(), next: None }))
        };
        let Peek { runs, next } = match look() {
            Err(refusal) if refusal.reason == Reason::SubscriptionNotFound => {
                // This replica may lag behind the one that told of it.
                self.gateway().current(running.group.id(), self.gateway().deadline()).await?;
                look()?
            }
            looked => looked?,
        };
        let mut cutter = Cutter::new(running.delivery.replica());
        let mut response = v1::PeekResponse { runs: Vec::new(), next_position: next };
        let mut left = RESPONSE_BYTES_MAX;
        for peeked in runs {
            if left == 0 {
                response.next_position = Some(peeked.position);
                break;
            }
            let cut = cutter.cut(peeked.topic, peeked.offset, peeked.count, left).await?;
            for piece in cut.pieces {
                left = left.saturating_sub(piece.bytes);
                let place = place_message(&peeked, piece.first() - peeked.offset);
                response.runs.push(v1::PeekedRun { place: Some(place), run: Some(piece.run) });
            }
            if cut.end < peeked.offset + peeked.count {
                response.next_position = Some(peeked.position + (cut.end - peeked.offset));
                break;
            }
        }
        Ok(response)
    }

    pub(super) async fn trace_checked(
        &self,
        request: v1::TraceRequest,
    ) -> Result<v1::TraceResponse, Refusal> {
        let offset = request.offset;
        let names = (request.namespace.as_str(), request.shard, request.topic.as_str());
        let ahead = |view: &TopicView| offset >= view.next_offset;
        let (running, topic) = Box::pin(self.topic(names, request.linearizable, ahead)).await?;
        if offset >= topic.next_offset {
            return Err(beyond_end(offset, &topic));
        }
        let mut cutter = Cutter::new(running.delivery.replica());
        let cut = cutter.cut(topic.id, offset, 1, RESPONSE_BYTES_MAX).await?;
        let run = cut.pieces.into_iter().next().map(|piece| piece.run);
        let message = run.as_ref().and_then(|run| run.messages.first());
        let subject = message.and_then(|m| MessageView::parse(m).ok()).map_or("", |view| view.subject);
        let headers: Vec<(&str, &[u8])> = message.into_iter().flat_map(|m| wire::headers(m)).collect();
        let (routes, index, since) = running.group.recall(|machine, history| {
            let Some(shard) = machine.shard() else { return (Vec::new(), None, history.since()) };
            let slice = shard.locate(topic.id, offset, 1).into_iter().next();
            let ended = history.of(topic.id, offset);
            let routes = shard.trace(topic.id, offset, (subject, &headers), &ended);
            let routes: Vec<_> = routes.iter().map(|route| route_message(route, shard)).collect();
            (routes, slice.map(|slice| slice.index), history.since())
        });
        Ok(v1::TraceResponse {
            group: running.group.id().get(),
            index: index.filter(|_| run.is_some()).unwrap_or(0),
            run,
            routes,
            remembers_since_ms: since.get(),
        })
    }
}

fn states_of(wanted: &[i32]) -> Result<PeekStates, Refusal> {
    if wanted.is_empty() {
        return Ok(PeekStates::ALL);
    }
    let mut states = PeekStates { ready: false, leased: false, delayed: false };
    for state in wanted {
        match v1::PeekState::try_from(*state) {
            Ok(v1::PeekState::Ready) => states.ready = true,
            Ok(v1::PeekState::Leased) => states.leased = true,
            Ok(v1::PeekState::Delayed) => states.delayed = true,
            Ok(v1::PeekState::Unspecified) | Err(_) => {
                let text =
                    format!("{state} is no state of a message: choose one that this version knows, or none");
                return Err(Refusal::new(Reason::InvalidArgument, text));
            }
        }
    }
    Ok(states)
}

/// The place of the message that is `skip` behind the first one.
fn place_message(peeked: &Peeked, skip: u64) -> v1::Place {
    let place = |state: v1::PeekState, until_ms| v1::Place {
        position: peeked.position + skip,
        state: state.into(),
        attempts: peeked.attempts,
        until_ms,
        ..v1::Place::default()
    };
    match peeked.state {
        PeekedState::Ready => place(v1::PeekState::Ready, 0),
        PeekedState::Delayed { until } => place(v1::PeekState::Delayed, until.get()),
        PeekedState::Leased { consumer, node, until } => v1::Place {
            consumer: consumer.to_string(),
            node: node.map_or(0, |node| node.get()),
            ..place(v1::PeekState::Leased, until.get())
        },
    }
}

fn route_message(route: &TraceRoute, shard: &Shard) -> v1::TraceRoute {
    let outcome = if !route.unsettled.is_empty() {
        v1::TraceOutcome::Unsettled
    } else if !route.is_whole {
        v1::TraceOutcome::Unknown
    } else if route.is_ahead {
        v1::TraceOutcome::NotReached
    } else if !route.ended.is_empty() {
        v1::TraceOutcome::Ended
    } else {
        v1::TraceOutcome::Gone
    };
    v1::TraceRoute {
        subscription: route.subscription.to_string(),
        filters: route.selectors.iter().map(ToString::to_string).collect(),
        outcome: outcome.into(),
        places: route.unsettled.iter().map(|peeked| place_message(peeked, 0)).collect(),
        ahead: route.is_ahead,
        ended: route.ended.iter().map(|ended| ended_message(ended, shard)).collect(),
    }
}

fn ended_message(ended: &Ended, shard: &Shard) -> v1::Ended {
    let message = |how: v1::EndedHow| v1::Ended {
        how: how.into(),
        attempts: ended.attempts,
        consumer: ended.consumer.map(|consumer| consumer.to_string()).unwrap_or_default(),
        at_ms: ended.at.get(),
        ..v1::Ended::default()
    };
    match ended.outcome {
        Outcome::Acked => message(v1::EndedHow::Acked),
        Outcome::Expired => message(v1::EndedHow::Expired),
        Outcome::Purged => message(v1::EndedHow::Purged),
        Outcome::Dropped { reason } => {
            v1::Ended { reason: reason.code().to_owned(), ..message(v1::EndedHow::Dropped) }
        }
        Outcome::DeadLettered { reason, topic, offset } => v1::Ended {
            reason: reason.code().to_owned(),
            dead_letter_topic: shard.topic_name(topic).map(ToString::to_string).unwrap_or_default(),
            dead_letter_offset: offset,
            ..message(v1::EndedHow::DeadLettered)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_machine::DeathReason;
    use quorate_types::{ConsumerId, Millis, NodeId, SessionId, SubscriptionId, TopicId};

    fn peeked(state: PeekedState) -> Peeked {
        let topic_name = wire::topic("t").unwrap();
        Peeked { position: 7, topic: TopicId::new(1), topic_name, offset: 3, count: 5, attempts: 2, state }
    }

    #[test]
    fn states_are_chosen_by_name_and_none_means_all() {
        assert_eq!(states_of(&[]), Ok(PeekStates::ALL));
        let chosen = states_of(&[v1::PeekState::Leased.into(), v1::PeekState::Delayed.into()]);
        assert_eq!(chosen, Ok(PeekStates { ready: false, leased: true, delayed: true }));
        assert_eq!(states_of(&[0]).map_err(|r| r.reason), Err(Reason::InvalidArgument));
        assert_eq!(states_of(&[1, 99]).map_err(|r| r.reason), Err(Reason::InvalidArgument));
    }

    #[test]
    fn a_route_says_what_is_known_and_no_more() {
        let ended = |outcomes: &[Outcome]| -> Vec<Ended> {
            let one = |outcome: &Outcome| Ended {
                subscription: SubscriptionId::new(1),
                topic: TopicId::new(1),
                offset: 3,
                count: 1,
                outcome: *outcome,
                attempts: 2,
                consumer: Some(ConsumerId { session: SessionId::new(4), number: 9 }),
                at: Millis::new(1_500),
            };
            outcomes.iter().map(one).collect()
        };
        let with = |unsettled: Vec<Peeked>, ended, is_ahead, is_whole| {
            let subscription = wire::subscription("s").unwrap();
            let route =
                TraceRoute { subscription, selectors: Vec::new(), is_ahead, unsettled, ended, is_whole };
            route_message(&route, &Shard::default())
        };
        let route = |unsettled, is_ahead, is_whole| with(unsettled, Vec::new(), is_ahead, is_whole);
        let consumer = ConsumerId { session: SessionId::new(4), number: 9 };
        let leased = PeekedState::Leased { consumer, node: Some(NodeId::new(2)), until: Millis::new(1_500) };
        let found = route(vec![peeked(leased)], true, true);
        assert_eq!((found.outcome(), found.ahead), (v1::TraceOutcome::Unsettled, true));
        let place = &found.places[0];
        assert_eq!((place.position, place.attempts, place.node, place.until_ms), (7, 2, 2, 1_500));
        assert_eq!((place.state(), place.consumer.clone()), (v1::PeekState::Leased, consumer.to_string()));
        assert_eq!(route(Vec::new(), true, true).outcome(), v1::TraceOutcome::NotReached);
        assert_eq!(route(Vec::new(), false, true).outcome(), v1::TraceOutcome::Gone);
        assert_eq!(route(Vec::new(), false, false).outcome(), v1::TraceOutcome::Unknown);
        let reason = DeathReason::BacklogFull;
        let over = ended(&[Outcome::Acked, Outcome::Dropped { reason }]);
        let found = with(Vec::new(), over.clone(), false, true);
        assert_eq!((found.outcome(), found.ended.len()), (v1::TraceOutcome::Ended, 2));
        let [acked, dropped] = &found.ended[..] else { panic!("there are two") };
        assert_eq!((acked.how(), acked.attempts, acked.at_ms), (v1::EndedHow::Acked, 2, 1_500));
        assert_eq!((acked.consumer.clone(), acked.reason.as_str()), (consumer.to_string(), ""));
        assert_eq!((dropped.how(), dropped.reason.as_str()), (v1::EndedHow::Dropped, "backlog_full"));
        assert_eq!(with(vec![peeked(leased)], over, false, true).outcome(), v1::TraceOutcome::Unsettled);
        assert_eq!(place_message(&peeked(PeekedState::Ready), 2).position, 9);
    }
}
