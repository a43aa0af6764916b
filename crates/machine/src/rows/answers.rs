//! One row per page of a session's answers.

use crate::answers::AnswerPage;
use crate::codec::{DecodeError, decode_row, encode_row};

pub(crate) fn encode(page: &AnswerPage) -> Vec<u8> {
    encode_row(page)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<AnswerPage, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let page = AnswerPage { count: 2, bytes: vec![1, 2, 3] };
        assert_eq!(decode(&encode(&page)), Ok(page));
    }
}
