//! Fuzz targets of this crate's decoders: see docs/fuzzing.md.

use crate::{
    ClusterId, Filter, HeaderMatch, MarkName, NamespaceName, Permission, ProducerName, Reason, RoleName,
    Selector, Shards, Subject, SubscriptionName, TopicName, TraceParent, UserName,
};
use quorate_fuzz::{Seen, Source, run};
use std::fmt::{Debug, Display};

/// What is read from a text is written as that text.
fn comes_back<T: Display + Debug, E>(text: &str, seen: &Seen, parse: impl Fn(&str) -> Result<T, E>) {
    let read = parse(text);
    if let Ok(read) = &read {
        assert_eq!(read.to_string(), text);
        seen.valid();
    }
    seen.damaged(read.is_ok());
}

#[test]
fn fuzz_names() {
    run!(|source, seen| {
        let mut bytes = source.text().repeat(1 + source.below(60)).into_bytes();
        if source.flip() {
            source.damage(&mut bytes);
        }
        let text = &String::from_utf8_lossy(&bytes);
        match source.byte() % 9 {
            0 => comes_back(text, seen, NamespaceName::parse),
            1 => comes_back(text, seen, TopicName::parse),
            2 => comes_back(text, seen, SubscriptionName::parse),
            3 => comes_back(text, seen, MarkName::parse),
            4 => comes_back(text, seen, ProducerName::parse),
            5 => comes_back(text, seen, RoleName::parse),
            6 => comes_back(text, seen, UserName::parse),
            7 => comes_back(text, seen, Subject::parse),
            _ => comes_back(text, seen, Filter::parse),
        }
        let (reason, permission) = (Reason::from_code(text), Permission::from_text(text));
        assert!(reason.is_none_or(|reason| reason.code() == text));
        assert!(permission.is_none_or(|permission| permission.as_str() == text));
        let _ = Shards::new(u32::from(source.byte())).map(|shards| shards.home_of(text));
    });
}

#[test]
fn fuzz_cluster_id() {
    run!(|source, seen| {
        let id = ClusterId::new(source.any().unwrap());
        seen.valid();
        let text = id.to_string();
        assert_eq!(ClusterId::parse(&text), Some(id));
        let mut bytes = text.into_bytes();
        source.damage(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let read = ClusterId::parse(&text);
        seen.damaged(read.is_some());
        assert!(read.is_none_or(|id| id.to_string() == text.to_lowercase()));
    });
}

/// A selector that was read selects without ado, whatever it is compared with.
#[test]
fn fuzz_selector() {
    run!(|source, seen| {
        let words = ["a", "b", "*", "#", "", "a*"];
        let joined = |source: &mut Source<'_>| {
            let words: Vec<&str> = (0..source.below(9)).filter_map(|_| source.one(&words).copied()).collect();
            words.join(".")
        };
        let (filter, subject) = (joined(source), joined(source));
        let filter = Filter::parse(&filter);
        seen.damaged(filter.is_ok());
        let Ok(filter) = filter else { return };
        seen.valid();
        assert!(filter.matches(&subject) || !filter.matches_all());
        let pairs =
            (0..source.below(20)).map(|_| (source.text(), source.bytes(3).into())).collect::<Vec<_>>();
        let headers = HeaderMatch::new(source.any().unwrap(), pairs.clone()).ok();
        let selector = Selector { filter, headers };
        let _ = selector.matches(&subject, pairs.iter().map(|(name, value)| (name.as_str(), &value[..])));
    });
}

#[test]
fn fuzz_traceparent() {
    run!(|source, seen| {
        let parent = TraceParent::begin([source.number(), source.number()], source.number(), source.flip());
        seen.valid();
        let mut bytes = parent.to_string().into_bytes();
        assert_eq!(TraceParent::parse(&bytes), Ok(parent));
        source.damage(&mut bytes);
        let read = TraceParent::parse(&bytes);
        seen.damaged(read.is_ok());
        if let Ok(read) = read {
            assert_eq!(TraceParent::parse(read.to_string().as_bytes()), Ok(read));
        }
    });
}
