//! Where subscriptions begin, or go.

use quorate_types::{MarkName, Millis};
use serde::{Deserialize, Serialize};

/// Where a new binding begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Latest,
    /// With this offset, or the first one kept after it; with 0 everything that the topic keeps.
    Offset(u64),
    /// With the first message kept that was stored at this time or later.
    Time(Millis),
}

/// Where a subscription is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeekTo {
    /// Of each topic to this start. An offset is one of a topic: exactly one must be bound.
    Start(Start),
    /// To where the subscription was when it got the mark. Topics that were bound since then begin with what is published from
    /// now on.
    Mark(MarkName),
}
