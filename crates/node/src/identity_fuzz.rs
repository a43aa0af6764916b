//! Fuzz target of the identity file: see docs/fuzzing.md.

use super::*;
use quorate_fuzz::{Codec, Target, run};

#[test]
fn fuzz_identity() {
    let codec = Codec::<Identity, IdentityError> {
        encode: |identity| serde_json::to_vec_pretty(identity).unwrap(),
        decode: |bytes| {
            // Whose it is is said by whoever starts the node.
            let node = serde_json::from_slice::<Identity>(bytes).map_or(NodeId::new(0), |found| found.node);
            Identity::parse(bytes, node)
        },
    };
    let target = Target::new(&codec);
    run!(|source, seen| {
        if let Ok(drawn) = source.any_for_people::<Identity>() {
            target.check(source, seen, &Identity { version: VERSION, ..drawn });
        }
    });
}
