//! One row per user (system group), by a number.

use crate::access::UserRecord;
use crate::codec::{DecodeError, decode_row, encode_row};

pub(crate) fn encode(user: &UserRecord) -> Vec<u8> {
    encode_row(user)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<UserRecord, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PasswordHash;
    use quorate_types::{RoleName, UserName};

    #[test]
    fn round_trip() {
        let user = UserRecord {
            name: UserName::parse("ann@example.com").unwrap(),
            password: Some(PasswordHash("$argon2id$…".to_owned())),
            roles: vec![RoleName::parse("clerk").unwrap()],
        };
        assert_eq!(decode(&encode(&user)), Ok(user.clone()));
        assert!(!format!("{user:?}").contains("argon"), "what is printed holds no hash");
    }
}
