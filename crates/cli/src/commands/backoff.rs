//! A subscription's backoff as it is typed and shown: `fixed:5s`, `linear:1s:1m`, `exponential:1s:10m`.

use quorate_client::v1::{Backoff, ExponentialBackoff, LinearBackoff, backoff::Kind};
use std::time::Duration;

/// Reads what was typed.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn parse(text: &str) -> Result<Backoff, String> {
    let ms = |text: &str| {
        let duration = humantime::parse_duration(text).map_err(|e| format!("{text:?}: {e}"))?;
        u64::try_from(duration.as_millis()).map_err(|_| format!("{text:?} is too long"))
    };
    let kind = match text.split(':').collect::<Vec<_>>()[..] {
        ["fixed", delay] => Kind::FixedMs(ms(delay)?),
        ["linear", step, max] => Kind::Linear(LinearBackoff { step_ms: ms(step)?, max_ms: ms(max)? }),
        ["exponential", first, max] => {
            Kind::Exponential(ExponentialBackoff { first_ms: ms(first)?, max_ms: ms(max)? })
        }
        _ => return Err("say fixed:DELAY, linear:STEP:MAX or exponential:FIRST:MAX".to_owned()),
    };
    Ok(Backoff { kind: Some(kind) })
}

/// It, as it would be typed; `none` when there is none.
pub(super) fn show(backoff: Option<&Backoff>) -> String {
    let duration =
        |ms: u64| humantime::format_duration(Duration::from_millis(ms)).to_string().replace(' ', "");
    match backoff.and_then(|backoff| backoff.kind.as_ref()) {
        None => "none".to_owned(),
        Some(Kind::FixedMs(delay)) => format!("fixed:{}", duration(*delay)),
        Some(Kind::Linear(b)) => format!("linear:{}:{}", duration(b.step_ms), duration(b.max_ms)),
        Some(Kind::Exponential(b)) => format!("exponential:{}:{}", duration(b.first_ms), duration(b.max_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        for text in ["fixed:5s", "linear:1s500ms:1m", "exponential:1s:1day"] {
            assert_eq!(show(Some(&parse(text).unwrap())), text);
        }
        assert_eq!(show(None), "none");
    }

    #[test]
    fn what_is_no_backoff_is_refused() {
        for text in ["", "5s", "fixed", "fixed:5", "linear:1s", "exponential:1s:2s:3s", "cubic:1s:2s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
