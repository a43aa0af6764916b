//! The language of scenarios: one line is one entry.
//!
//! | command | meaning |
//! |---|---|
//! | `group N` | first line only: the machine of group N (default 1; 0 is the system group) |
//! | `hello NODE BOOT`, `open-session MS`, `close-session ID`, `expire-node ID` | conversations |
//! | `as ID: OP`, `as ID#N: OP` | OP under session ID (default 1), as its next operation or as number N |
//! | `again` | the entry before the last `again` or entry, byte for byte |
//! | `create-topic T [age=MS] [bytes=N] [alternate=T]`, `configure-topic …`, `delete-topic T` | topics |
//! | `create-subscription S [lease=MS] [attempts=N] [backoff=KIND:MS[:MAX_MS]] [dead=T] [KIND] [auto]`, `delete-subscription S`, `purge S` | subscriptions |
//! | `bind T S FILTER[,FILTER]… [start=OFFSET] [time=MS] [auto]`, `unbind T S FILTER` | bindings; a filter may ask for headers: `#{all:K=V&K=V}`, `a.*{any:K=V}` |
//! | `bind-topic FROM TO FILTER[,FILTER]…`, `unbind-topic FROM TO FILTER` | bindings between topics |
//! | `route T S VERSION FROM-TO [OFFSET*COUNT]…` | what the leader found up to TO, not included, by ids of topic and subscription |
//! | `publish T SUBJECT[*COUNT]… [mandatory] [auto]` | messages of ten bytes; `''` is the empty subject |
//! | `publish-each T SUBJECT[*COUNT]… [auto] / T …` | such publishes to several topics, as one operation |
//! | `attach N S CREDIT [priority=N] [who=IDENTITY] [epoch=N]`, `credit N C`, `detach N WRITTEN` | consumer N of the session |
//! | `ack N FIRST-LAST@ATTEMPT…`, `nack …`, `reject …`, `extend …`, `nack-after MS N …` | settles |
//! | `commit PART / PART…` | a part is `ack S IDENTITY FIRST-LAST@ATTEMPT…`, `nack …`, `reject …` or `T SUBJECT[*COUNT]… [auto]` |
//! | `form NODE…`, `register NODE INCARNATION`, `create-namespace NAME SHARDS`, `delete-namespace NAME ID REVISION` | group 0 |
//! | `close-shard REVISION`, `open-shard REVISION` | the shard's part of deleting and creating its namespace |
//! | `wait MS` | no entry: the next one is stamped so much later |
//! | `tick` | one tick |
//! | `reload` | no entry: the machine is replaced by one out of its own rows |
//! | `show` | no entry: the state |
//! | `letters T` | no entry: where a topic's messages lie, and what they say of where they came from |

mod show;

use crate::common::{self, Driver, Step, sub, topic};
use bytes::Bytes;
use quorate_machine::{
    Backoff, CommitSettle, ConsumerIdentity, Envelope, Machine, Match, NodeRecord, Op, Origin, Publish,
    Settlement, Start, SubscriptionConfig, SubscriptionKind, TopicConfig, Verdict,
};
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, Incarnation, Millis, NamespaceId, NamespaceName, NodeId, SessionId,
    SubscriptionId, TopicId,
};
use std::time::Duration;

/// A machine that is driven by lines of text.
pub(crate) struct Script {
    driver: Driver,
    last: Vec<Step>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { driver: Driver::new(common::SHARD), last: Vec::new() }
    }

    /// Does one line and says what came of it.
    pub(crate) fn entry(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["group", id] => {
                assert!(self.driver.log.is_empty(), "the group is chosen before the first entry");
                self.driver = Driver::new(GroupId::new(number(id)));
                return Vec::new();
            }
            ["wait", ms] => {
                self.driver.time += number(ms);
                return Vec::new();
            }
            ["show"] => return show::state(&self.driver),
            ["letters", name] => return show::letters(self.driver.state(), &topic(name)),
            ["reload"] => {
                self.driver.machine = self.driver.reloaded();
                return Vec::new();
            }
            ["again"] => {}
            _ => self.last = line.split(" ; ").map(|op| self.step(op.trim())).collect(),
        }
        let applied = self.driver.apply(&self.last);
        self.driver.check();
        show::applied(&applied)
    }

    /// What must hold at the end of every scenario: another replica has come to the same state.
    pub(crate) fn finish(&self) {
        let mut other = Machine::new(self.driver.machine.group());
        self.driver.log.iter().for_each(|(id, batch)| drop(other.apply(*id, batch)));
        assert_eq!(other.image(), self.driver.machine.image());
        assert_eq!(other.hash(), self.driver.machine.hash());
    }

    fn step(&mut self, line: &str) -> Step {
        let (session, sequence, line) = match line.strip_prefix("as ").and_then(|l| l.split_once(": ")) {
            Some((who, op)) => match who.split_once('#') {
                Some((id, sequence)) => (number(id), Some(number(sequence)), op),
                None => (number(who), None, op),
            },
            None => (1, None, line),
        };
        let session = SessionId::new(session);
        let (op, fragment) = operation(line, session);
        if is_unnumbered(&op) {
            return Step { envelope: Envelope { origin: Origin::Leader, op }, fragment };
        }
        match sequence {
            Some(sequence) => {
                Step { envelope: Envelope { origin: Origin::Session { session, sequence }, op }, fragment }
            }
            None => Step { fragment, ..self.driver.step(session, op) },
        }
    }
}

/// What opens a conversation, what the leader proposes, and all of group 0 has no session here.
fn is_unnumbered(op: &Op) -> bool {
    matches!(
        op,
        Op::Hello { .. }
            | Op::OpenSession { .. }
            | Op::CloseSession { .. }
            | Op::ExpireNode { .. }
            | Op::Tick
            | Op::Route { .. }
            | Op::FormCluster { .. }
            | Op::RegisterNode { .. }
            | Op::CreateNamespace { .. }
            | Op::DeleteNamespace { .. }
    )
}

fn operation(line: &str, session: SessionId) -> (Op, Bytes) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, args @ ..] = &words[..] else { panic!("an empty operation") };
    if *name == "publish" {
        let (publish, fragment) = publish(args);
        return (Op::Publish(publish), fragment);
    }
    if *name == "publish-each" {
        return common::publish_each(args.split(|word| *word == "/").map(publish));
    }
    if *name == "commit" {
        let (mut settles, mut publishes) = (Vec::new(), Vec::new());
        for part in args.split(|word| *word == "/").filter(|part| !part.is_empty()) {
            match part {
                [name @ ("ack" | "nack" | "reject"), s, who, ranges @ ..] => settles.push(CommitSettle {
                    subscription: sub(s),
                    token: common::identity(u8::try_from(number(who)).unwrap(), 0).unwrap().token,
                    settlements: settlements(named_verdict(name), ranges),
                }),
                part => publishes.push(publish(part)),
            }
        }
        return common::commit(settles, publishes.into_iter());
    }
    let op = conversation(name, args)
        .or_else(|| metadata(name, args))
        .or_else(|| delivery(name, args, session))
        .or_else(|| system(name, args));
    (op.unwrap_or_else(|| panic!("not a command: {line:?}")), Bytes::new())
}

fn publish(args: &[&str]) -> (Publish, Bytes) {
    let [name, runs @ ..] = args else { panic!("publish TOPIC SUBJECT…") };
    let (auto, runs) = match runs {
        [runs @ .., "auto"] => (true, runs),
        runs => (false, runs),
    };
    let (mandatory, runs) = match runs {
        [runs @ .., "mandatory"] => (true, runs),
        runs => (false, runs),
    };
    let run = |word: &&'_ str| match word.split_once('*') {
        Some((subject, count)) if count.parse::<u32>().is_ok() => {
            (subject.to_owned(), count.parse().unwrap())
        }
        _ => ((*word).to_owned(), 1),
    };
    let runs: Vec<(String, u32)> = runs.iter().map(run).collect();
    let runs: Vec<(&str, u32)> =
        runs.iter().map(|(s, n)| (if s == "''" { "" } else { s.as_str() }, *n)).collect();
    let (publish, fragment) = common::publish(name, &runs);
    (Publish { create_topic: auto, mandatory, ..publish }, fragment)
}

fn conversation(name: &str, args: &[&str]) -> Option<Op> {
    Some(match (name, args) {
        ("hello", [node, boot]) => {
            Op::Hello { node: NodeId::new(number(node)), boot: BootId::new(number(boot)) }
        }
        ("open-session", [ms]) => Op::OpenSession { timeout: Duration::from_millis(number(ms)) },
        ("close-session", [id]) => Op::CloseSession { session: SessionId::new(number(id)) },
        ("expire-node", [id]) => Op::ExpireNode { session: SessionId::new(number(id)) },
        ("tick", []) => Op::Tick,
        _ => return None,
    })
}

fn metadata(name: &str, args: &[&str]) -> Option<Op> {
    Some(match (name, args) {
        ("create-topic", [t, options @ ..]) => {
            Op::CreateTopic { topic: topic(t), config: retention(options) }
        }
        ("configure-topic", [t, options @ ..]) => {
            Op::ConfigureTopic { topic: topic(t), config: retention(options) }
        }
        ("delete-topic", [t]) => Op::DeleteTopic { topic: topic(t) },
        ("create-subscription", [s, options @ ..]) => {
            let create_topic = options.contains(&"auto");
            Op::CreateSubscription { subscription: sub(s), config: subscription(options), create_topic }
        }
        ("delete-subscription", [s]) => Op::DeleteSubscription { subscription: sub(s) },
        ("purge", [s]) => Op::Purge { subscription: sub(s) },
        ("bind", [t, s, filters, rest @ ..]) => Op::Bind {
            topic: topic(t),
            subscription: sub(s),
            selectors: filters.split(',').map(common::selector).collect(),
            start: start(rest),
            create_topic: rest.contains(&"auto"),
        },
        ("route", [t, s, version, range, matches @ ..]) => {
            let (from, to) = range.split_once('-').unwrap();
            Op::Route {
                topic: TopicId::new(number(t)),
                subscription: SubscriptionId::new(number(s)),
                version: number(version),
                from: number(from),
                to: number(to),
                matches: matches.iter().map(|m| found(m)).collect(),
            }
        }
        ("unbind", [t, s, f]) => {
            Op::Unbind { topic: topic(t), subscription: sub(s), selector: common::selector(f) }
        }
        ("bind-topic", [from, to, filters]) => Op::BindTopic {
            from: topic(from),
            to: topic(to),
            filters: filters.split(',').map(|f| Filter::parse(f).unwrap()).collect(),
        },
        ("unbind-topic", [from, to, f]) => {
            Op::UnbindTopic { from: topic(from), to: topic(to), filter: Filter::parse(f).unwrap() }
        }
        _ => return None,
    })
}

fn delivery(name: &str, args: &[&str], session: SessionId) -> Option<Op> {
    let consumer = |n: &str| ConsumerId { session, number: number(n) };
    Some(match (name, args) {
        ("attach", [n, s, credit, options @ ..]) => Op::Attach {
            consumer: consumer(n),
            subscription: sub(s),
            credit: small(credit),
            priority: priority(options),
            identity: identity(options),
        },
        ("credit", [n, credit]) => Op::SetCredit { consumer: consumer(n), credit: small(credit) },
        ("detach", [n, written]) => Op::Detach { consumer: consumer(n), written: number(written) },
        ("ack" | "nack" | "reject" | "extend", [n, ranges @ ..]) => {
            Op::Settle { consumer: consumer(n), settlements: settlements(named_verdict(name), ranges) }
        }
        ("nack-after", [ms, n, ranges @ ..]) => {
            let verdict = Verdict::NackAfter { delay_ms: small(ms) };
            Op::Settle { consumer: consumer(n), settlements: settlements(verdict, ranges) }
        }
        _ => return None,
    })
}

fn system(name: &str, args: &[&str]) -> Option<Op> {
    let namespace = |n: &str| NamespaceName::parse(n).unwrap();
    Some(match (name, args) {
        ("form", nodes) => {
            Op::FormCluster { nodes: nodes.iter().map(|n| record(number(n), number(n))).collect() }
        }
        ("register", [node, incarnation]) => {
            Op::RegisterNode { node: record(number(node), number(incarnation)) }
        }
        ("create-namespace", [n, shards]) => {
            Op::CreateNamespace { namespace: namespace(n), shards: small(shards) }
        }
        ("delete-namespace", [n, id, revision]) => {
            let id = NamespaceId::new(number(id));
            Op::DeleteNamespace { namespace: namespace(n), id, revision: number(revision) }
        }
        ("close-shard", [revision]) => Op::CloseShard { revision: number(revision) },
        ("open-shard", [revision]) => Op::OpenShard { revision: number(revision) },
        _ => return None,
    })
}

fn named_verdict(name: &str) -> Verdict {
    match name {
        "ack" => Verdict::Ack,
        "nack" => Verdict::Nack,
        "extend" => Verdict::Extend,
        _ => Verdict::Reject,
    }
}

fn settlements(verdict: Verdict, ranges: &[&str]) -> Vec<Settlement> {
    ranges.iter().map(|range| settlement(range, verdict)).collect()
}

/// `FIRST-LAST@ATTEMPT`, or `POSITION@ATTEMPT`.
fn settlement(range: &str, verdict: Verdict) -> Settlement {
    let (range, attempt) = range.split_once('@').unwrap_or((range, "1"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Settlement { first: number(first), last: number(last), attempt: small(attempt), verdict }
}

fn record(node: u64, incarnation: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId::new(node),
        incarnation: Incarnation::new(incarnation),
        peer_address: format!("node{node}:7001"),
        client_address: format!("node{node}:7000"),
    }
}

fn retention(options: &[&str]) -> TopicConfig {
    TopicConfig {
        retention_age: option(options, "age").map(Duration::from_millis),
        retention_bytes: option(options, "bytes"),
        alternate_topic: word(options, "alternate").map(topic),
    }
}

fn subscription(options: &[&str]) -> SubscriptionConfig {
    let default = SubscriptionConfig::default();
    SubscriptionConfig {
        lease_timeout: option(options, "lease").map_or(default.lease_timeout, Duration::from_millis),
        max_attempts: option(options, "attempts").map(|n| u32::try_from(n).unwrap()),
        backoff: word(options, "backoff").map_or(Backoff::None, backoff),
        dead_letter_topic: word(options, "dead").map(topic),
        kind: options.iter().find_map(|o| kind(o)).unwrap_or_default(),
    }
}

/// `fixed:MS`, `linear:STEP_MS:MAX_MS` or `exponential:FIRST_MS:MAX_MS`.
fn backoff(text: &str) -> Backoff {
    let ms = |word: &str| Duration::from_millis(number(word));
    match text.split(':').collect::<Vec<_>>()[..] {
        ["fixed", delay] => Backoff::Fixed { delay: ms(delay) },
        ["linear", step, max] => Backoff::Linear { step: ms(step), max: ms(max) },
        ["exponential", first, max] => Backoff::Exponential { first: ms(first), max: ms(max) },
        _ => panic!("not a backoff: {text:?}"),
    }
}

fn start(options: &[&str]) -> Start {
    let time = option(options, "time").map(|ms| Start::Time(Millis::new(ms)));
    option(options, "start").map(Start::Offset).or(time).unwrap_or_default()
}

/// `OFFSET*COUNT`, or `OFFSET`.
fn found(word: &str) -> Match {
    let (offset, count) = word.split_once('*').unwrap_or((word, "1"));
    Match { offset: number(offset), count: number(count) }
}

fn kind(word: &str) -> Option<SubscriptionKind> {
    match word {
        "shared" => Some(SubscriptionKind::Shared),
        "exclusive" => Some(SubscriptionKind::Exclusive),
        "failover" => Some(SubscriptionKind::Failover),
        _ => None,
    }
}

fn priority(options: &[&str]) -> i32 {
    options.iter().find_map(|o| o.strip_prefix("priority=")).map_or(0, |n| n.parse().unwrap())
}

fn identity(options: &[&str]) -> Option<ConsumerIdentity> {
    let who = u8::try_from(option(options, "who").unwrap_or(0)).unwrap();
    common::identity(who, option(options, "epoch").unwrap_or(0))
}

fn option(options: &[&str], name: &str) -> Option<u64> {
    word(options, name).map(number)
}

fn word<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='))
}

fn number(word: &str) -> u64 {
    if word == "max" { u64::MAX } else { word.parse().unwrap_or_else(|_| panic!("not a number: {word:?}")) }
}

fn small(word: &str) -> u32 {
    u32::try_from(number(word)).unwrap()
}
