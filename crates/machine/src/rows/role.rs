//! One row per role (system group), by a number.

use crate::access::RoleRecord;
use crate::codec::{DecodeError, decode_row, encode_row};

pub(crate) fn encode(role: &RoleRecord) -> Vec<u8> {
    encode_row(role)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<RoleRecord, DecodeError> {
    decode_row(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;
    use quorate_types::{Filter, NamespaceName, Permission, RoleName};

    #[test]
    fn round_trip() {
        let grant = |namespace: Option<&str>, names: &str| Grant {
            permissions: vec![Permission::Publish, Permission::Administer],
            namespace: namespace.map(|n| NamespaceName::parse(n).unwrap()),
            names: Filter::parse(names).unwrap(),
        };
        let role = RoleRecord {
            name: RoleName::parse("clerk").unwrap(),
            grants: vec![grant(None, "#"), grant(Some("shop"), "orders.*")],
        };
        assert_eq!(decode(&encode(&role)), Ok(role));
    }
}
