//! Fuzz targets of what others say of themselves: see docs/fuzzing.md.

use crate::formation::{list_of_texts, list_texts};
use crate::inboxes::Address;
use quorate_fuzz::run;
use quorate_types::NodeId;

#[test]
fn fuzz_peer_list() {
    run!(|source, seen| {
        let mut texts: Vec<String> =
            (0..source.below(4)).map(|at| format!("{at}={}", source.text())).collect();
        assert_eq!(list_texts(&list_of_texts(&texts)), texts);
        seen.valid();
        let mut bytes = texts.pop().unwrap_or_default().into_bytes();
        source.damage(&mut bytes);
        let list = list_of_texts(&[String::from_utf8_lossy(&bytes).into_owned()]);
        seen.damaged(!list.is_empty());
        assert_eq!(list_of_texts(&list_texts(&list)), list);
    });
}

#[test]
fn fuzz_inbox_address() {
    run!(|source, seen| {
        let address = Address { node: NodeId::new(source.number()), token: [(); 16].map(|()| source.byte()) };
        assert_eq!(address.to_string().parse(), Ok(address));
        seen.valid();
        let mut bytes = address.to_string().into_bytes();
        source.damage(&mut bytes);
        let read = String::from_utf8_lossy(&bytes).parse::<Address>();
        seen.damaged(read.is_ok());
        if let Ok(read) = read {
            assert_eq!(read.to_string().parse(), Ok(read));
        }
    });
}
