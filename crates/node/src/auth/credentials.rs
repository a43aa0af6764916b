//! What is in the metadata `authorization`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longer ones are not looked at.
const BYTES_MAX: usize = 8 << 10;

/// Whom somebody claims to be, and what proves it.
#[derive(PartialEq, Eq)]
pub(super) enum Credentials {
    Password { user: String, password: Vec<u8> },
    Token(String),
}

impl Credentials {
    /// `None`: they are none of ours.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        if header.len() > BYTES_MAX {
            return None;
        }
        let (scheme, rest) = std::str::from_utf8(header).ok()?.trim().split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let decoded = STANDARD.decode(rest.trim()).ok()?;
                let colon = decoded.iter().position(|byte| *byte == b':')?;
                let (user, password) = decoded.split_at(colon);
                let user = std::str::from_utf8(user).ok()?.to_owned();
                Some(Self::Password { user, password: password.get(1..)?.to_vec() })
            }
            "bearer" => Some(Self::Token(rest.trim().to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_apart_and_nonsense_is_nothing() {
        // ann:p:w
        let basic = Credentials::parse(b"basic YW5uOnA6dw==");
        assert!(basic == Some(Credentials::Password { user: "ann".to_owned(), password: b"p:w".to_vec() }));
        assert!(Credentials::parse(b"Bearer a.b.c") == Some(Credentials::Token("a.b.c".to_owned())));
        for bad in
            [&b""[..], b"Basic", b"Basic !", b"Basic YW5u", b"Digest x", b"Bearer\xff x", &[b'B'; 9_000]]
        {
            assert!(Credentials::parse(bad).is_none());
        }
    }
}
