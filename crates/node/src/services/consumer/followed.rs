//! Messages of a consumer that are followed, from their delivery to their settle.

use crate::delivery::Piece;
use crate::gateway::Gateway;
use crate::traces::{Kind, Spans};
use quorate_types::{Millis, TraceParent};
use quorate_wire::v1;
use std::collections::BTreeMap;

/// Messages that one consumer may hold and that are followed to their settle; of more only the delivery is told.
const HELD_MAX: usize = 1_024;

/// By position. Empty while nothing is followed.
#[derive(Default)]
pub(super) struct Followed(BTreeMap<u64, TraceParent>);

impl Followed {
    /// Tells that messages are handed to the connection, and remembers those that are followed.
    pub(super) fn deliver(&mut self, gateway: &Gateway, first_position: u64, piece: &Piece) {
        let traces = gateway.traces();
        if traces.is_off() {
            return;
        }
        for (position, message) in (first_position..).zip(&piece.run.messages) {
            let Some(parent) = traces.of_message(message) else { continue };
            if let Some(mut span) = traces.begin(Kind::Deliver, parent) {
                span.since(Millis::new(piece.run.timestamp_ms));
                span.say("messaging.destination.name", &piece.run.topic);
                span.count("messaging.message.offset", piece.run.first_offset + (position - first_position));
            }
            if self.0.len() < HELD_MAX {
                self.0.insert(position, parent);
            }
        }
    }

    /// Spans of the messages that are settled.
    pub(super) fn settle(&mut self, gateway: &Gateway, given: &[v1::Settlement]) -> Spans {
        let mut spans = Spans::default();
        if self.0.is_empty() {
            return spans;
        }
        for settlement in given.iter().filter(|settlement| settlement.first <= settlement.last) {
            let positions: Vec<u64> =
                self.0.range(settlement.first..=settlement.last).map(|(position, _)| *position).collect();
            for position in positions {
                let span =
                    self.0.remove(&position).and_then(|parent| gateway.traces().begin(Kind::Settle, parent));
                spans.push(span.map(|mut span| {
                    span.say("quorate.verdict", settlement.verdict().as_str_name());
                    span
                }));
            }
        }
        spans
    }
}
