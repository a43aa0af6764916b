//! Where a subscription begins, or is moved to, as it is typed.

use crate::commands::time;
use quorate_client::{SeekTo, Start};

/// `latest`, `earliest`, `offset:N` or `time:T`.
pub(super) fn start(text: &str) -> Result<Start, String> {
    match text.split_once(':') {
        None if text == "latest" => Ok(Start::Latest),
        None if text == "earliest" => Ok(Start::Earliest),
        Some(("offset", offset)) => {
            offset.parse().map(Start::Offset).map_err(|_| format!("{offset:?} is no offset: offset:1000"))
        }
        Some(("time", at)) => time::parse(at).map(Start::Time),
        _ => Err(format!("{text:?} is none of latest, earliest, offset:N, time:2026-01-31T12:00:00Z")),
    }
}

/// As a start, or `mark:NAME`.
pub(super) fn seek_to(text: &str) -> Result<SeekTo, String> {
    if let Some(("mark", name)) = text.split_once(':') {
        return Ok(SeekTo::Mark(name.to_owned()));
    }
    let to = start(text).map_err(|error| format!("{error}, mark:NAME"))?;
    Ok(match to {
        Start::Latest => SeekTo::Latest,
        Start::Earliest => SeekTo::Earliest,
        Start::Offset(offset) => SeekTo::Offset(offset),
        Start::Time(time) => SeekTo::Time(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::Millis;

    #[test]
    fn a_place_to_move_to_is_a_start_or_a_mark() {
        assert_eq!(seek_to("latest"), Ok(SeekTo::Latest));
        assert_eq!(seek_to("earliest"), Ok(SeekTo::Earliest));
        assert_eq!(seek_to("offset:17"), Ok(SeekTo::Offset(17)));
        assert_eq!(seek_to("time:1500"), Ok(SeekTo::Time(Millis::new(1_500))));
        assert_eq!(seek_to("mark:before-release"), Ok(SeekTo::Mark("before-release".to_owned())));
        assert!(seek_to("mark").is_err());
    }

    #[test]
    fn a_start_is_typed_as_a_word_an_offset_or_a_time() {
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("earliest"), Ok(Start::Earliest));
        assert_eq!(start("offset:17"), Ok(Start::Offset(17)));
        assert_eq!(start("time:1500"), Ok(Start::Time(Millis::new(1_500))));
        assert_eq!(start("time:1970-01-01T00:00:02Z"), Ok(Start::Time(Millis::new(2_000))));
        for wrong in ["", "first", "offset", "offset:-1", "time:yesterday", "earliest:1"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}
