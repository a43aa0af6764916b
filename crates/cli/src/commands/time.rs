//! Times, as they are typed and shown.

use quorate_types::Millis;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The year 10000: RFC 3339 has no text for what comes then.
const SHOWN_UNTIL_MS: u64 = 253_402_300_800_000;

/// A time, as RFC 3339 or as milliseconds since 1970.
pub(super) fn parse(text: &str) -> Result<Millis, String> {
    if let Ok(ms) = text.parse() {
        return Ok(Millis::new(ms));
    }
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| format!("{text:?} is neither RFC 3339 (2026-01-31T12:00:00Z) nor milliseconds"))?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| format!("{text:?} is before 1970"))?;
    Ok(Millis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// Milliseconds since 1970, as people read them.
pub(super) fn millis(ms: u64) -> String {
    show(ms, |time| humantime::format_rfc3339_millis(time).to_string())
}

/// The same, to the second.
pub(super) fn seconds(ms: u64) -> String {
    show(ms, |time| humantime::format_rfc3339_seconds(time).to_string())
}

fn show(ms: u64, text: impl FnOnce(SystemTime) -> String) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).filter(|_| ms < SHOWN_UNTIL_MS);
    time.map_or_else(|| format!("{ms} ms"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_has_a_text() {
        assert_eq!(seconds(1_000), "1970-01-01T00:00:01Z");
        assert_eq!(millis(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(millis(SHOWN_UNTIL_MS - 1), "9999-12-31T23:59:59.999Z");
        for ms in [SHOWN_UNTIL_MS, u64::MAX] {
            assert_eq!([seconds(ms), millis(ms)], [format!("{ms} ms"), format!("{ms} ms")]);
        }
    }

    #[test]
    fn time_is_read_in_both_forms() {
        assert_eq!(parse("1000"), Ok(Millis::new(1000)));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Millis::new(1000)));
        assert!(parse("yesterday").is_err());
    }
}
