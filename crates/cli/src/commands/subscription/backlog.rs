//! What may be unsettled in a subscription, as it is typed and shown.

use clap::ValueEnum;
use quorate_client::v1;
use serde_json::{Value, json};

/// What gives way when a backlog is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WhenFull {
    /// A publish that would bring more is refused.
    RejectPublish,
    /// The oldest messages are dropped.
    DropOldest,
    /// The oldest messages go to the dead-letter topic.
    DeadLetterOldest,
}

impl WhenFull {
    fn message(self) -> v1::WhenFull {
        match self {
            Self::RejectPublish => v1::WhenFull::RejectPublish,
            Self::DropOldest => v1::WhenFull::DropOldest,
            Self::DeadLetterOldest => v1::WhenFull::DeadLetterOldest,
        }
    }
}

/// What is asked for; nothing if nothing is. That something gives way and no limit is for the node to refuse.
pub(super) fn limit(
    (messages_max, bytes_max): (Option<u64>, Option<u64>),
    when_full: WhenFull,
) -> Option<v1::BacklogLimit> {
    let asked = messages_max.is_some() || bytes_max.is_some() || when_full != WhenFull::RejectPublish;
    asked.then(|| v1::BacklogLimit { messages_max, bytes_max, when_full: when_full.message().into() })
}

/// Units of bytes, in powers of 1,000 and of 1,024.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a number of bytes, at least one: `500`, `10kB`, `1GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let found = UNITS.iter().find(|(name, _)| unit.trim().eq_ignore_ascii_case(name));
    let bytes = found.and_then(|(_, factor)| number.parse::<u64>().ok()?.checked_mul(*factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        "a number of bytes is 1 or more, with kB, MB, GB, TB, KiB, MiB, GiB or TiB if you like".to_owned()
    })
}

fn name(limit: &v1::BacklogLimit) -> &'static str {
    match limit.when_full() {
        v1::WhenFull::Unspecified | v1::WhenFull::RejectPublish => "reject-publish",
        v1::WhenFull::DropOldest => "drop-oldest",
        v1::WhenFull::DeadLetterOldest => "dead-letter-oldest",
    }
}

/// In one line.
pub(super) fn show(limit: Option<&v1::BacklogLimit>, bytes: Option<u64>) -> String {
    let Some(limit) = limit else { return "no limit".to_owned() };
    let messages = limit.messages_max.map(|max| format!("{max} messages"));
    let of_bytes = limit.bytes_max.map(|max| format!("{} of {max} bytes", bytes.unwrap_or_default()));
    let parts: Vec<String> = messages.into_iter().chain(of_bytes).collect();
    format!("{}, then {}", parts.join(" and "), name(limit))
}

pub(super) fn document(limit: Option<&v1::BacklogLimit>) -> Value {
    let Some(limit) = limit else { return Value::Null };
    json!({ "messages_max": limit.messages_max, "bytes_max": limit.bytes_max, "when_full": name(limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shown_as_it_is_typed() {
        assert_eq!(limit((None, None), WhenFull::RejectPublish), None);
        let both = limit((Some(10), Some(size("2kB").unwrap())), WhenFull::DropOldest).unwrap();
        assert_eq!(show(Some(&both), Some(7)), "10 messages and 7 of 2000 bytes, then drop-oldest");
        let one = limit((Some(10), None), WhenFull::RejectPublish).unwrap();
        assert_eq!(show(Some(&one), None), "10 messages, then reject-publish");
        assert_eq!(show(None, None), "no limit");
        assert_eq!(document(Some(&both))["when_full"], "drop-oldest");
        // No limit, but something that gives way: the node says what is missing.
        assert!(limit((None, None), WhenFull::DeadLetterOldest).is_some());
        let read = ["500", "10 kB", "1gib", "0", "1.5GB", "many", "99999999TB"].map(|text| size(text).ok());
        assert_eq!(read, [Some(500), Some(10_000), Some(1 << 30), None, None, None, None]);
    }
}
