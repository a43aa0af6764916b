//! The language of scenarios: one line is one entry.
//!
//! | command | meaning |
//! |---|---|
//! | `group N` | first line only: the machine of group N (default 1; 0 is the system group) |
//! | `hello NODE BOOT`, `open-session MS`, `close-session ID`, `expire-node ID` | conversations |
//! | `open-producer P MS [as=INSTANCE]`, `delete-producer P` | named conversations |
//! | `as ID: OP`, `as ID#N: OP` | OP under session ID (default 1), as its next operation or as number N |
//! | `again` | the entry before the last `again` or entry, byte for byte |
//! | `create-topic T [age=MS] [bytes=N] [ttl=MS] [alternate=T] [window=MS] [compacted] [spread]`, `configure-topic …`, `delete-topic T` | topics |
//! | `create-subscription S [lease=MS] [attempts=N] [backoff=KIND:MS[:MAX_MS]] [dead=T [expired]] [priorities] [KIND] [messages-max=N] [bytes-max=N] [drop-oldest] [dead-letter-oldest] [auto]`, `delete-subscription S`, `purge S` | subscriptions |
//! | `seek S latest`, `seek S offset=N`, `seek S time=MS`, `seek S mark=M`, `mark S M`, `unmark S M` | places of a subscription |
//! | `bind T S FILTER[,FILTER]… [start=OFFSET] [time=MS] [auto]`, `unbind T S FILTER` | bindings; a filter may ask for headers: `#{all:K=V&K=V}`, `a.*{any:K=V}` |
//! | `bind-topic FROM TO FILTER[,FILTER]…`, `unbind-topic FROM TO FILTER` | bindings between topics |
//! | `route T S VERSION FROM-TO [OFFSET*COUNT[OPTION…]]…` | what the leader found up to TO, not included, by ids of topic and subscription |
//! | `publish T SUBJECT[*COUNT][OPTION…]… [mandatory] [auto]` | messages of ten bytes; `''` is the empty subject; an OPTION is `|key=K`, `|priority=N`, `|ttl=MS`, `|at=MS`, `|delay=MS`, `|id=ID` or `|empty` |
//! | `cancel T OFFSET` | takes a scheduled message back |
//! | `publish-each T SUBJECT[*COUNT]… [auto] / T …` | such publishes to several topics, as one operation |
//! | `attach N S CREDIT [priority=N] [who=IDENTITY] [epoch=N]`, `credit N C`, `detach N WRITTEN` | consumer N of the session |
//! | `ack N FIRST-LAST@ATTEMPT…`, `nack …`, `reject …`, `extend …`, `nack-after MS N …` | settles |
//! | `commit PART / PART…` | a part is `ack S IDENTITY FIRST-LAST@ATTEMPT…`, `nack …`, `reject …` or `T SUBJECT[*COUNT]… [auto]` |
//! | `form NODE…`, `register NODE INCARNATION`, `create-namespace NAME SHARDS`, `delete-namespace NAME ID REVISION` | group 0 |
//! | `keep-namespace NAME ID` | group 0, when a shard refused to be closed |
//! | `close-shard REVISION`, `open-shard REVISION [SHARD/SHARDS]` | the shard's part of deleting and creating its namespace |
//! | `wait MS` | no entry: the next one is stamped so much later |
//! | `tick` | one tick |
//! | `compact` | the leader has read what is needed of blocks that are worth writing anew; nothing when there are none |
//! | `gather` | the leader has read small blocks that follow each other; nothing when there are none |
//! | `look-scattered` | no entry: the leader reads these, for a `gather` that comes later |
//! | `raise` | the group decides by the newest version of the machine |
//! | `look` | no entry: the leader reads that, for a `compact` that comes later |
//! | `reload` | no entry: the machine is replaced by one out of its own rows |
//! | `show` | no entry: the state |
//! | `peek S [from=N] [limit=N] [ready] [leased] [delayed]` | no entry: what is in a subscription |
//! | `trace T OFFSET SUBJECT` | no entry: where a message is, and what became of it |
//! | `letters T` | no entry: where a topic's messages lie, and what they say of where they came from |

mod show;

use crate::common::{self, Driver, Step, mark, sub, topic};
use bytes::Bytes;
use quorate_machine::{
    BacklogLimit, Backoff, CommitSettle, ConsumerIdentity, Envelope, KeyHash, Machine, Match, MessageOptions,
    NodeRecord, Op, Origin, Publish, SeekTo, Settlement, Start, SubscriptionConfig, SubscriptionKind,
    TopicConfig, Verdict, WhenFull,
};
use quorate_types::{
    BootId, ConsumerId, Filter, GroupId, Incarnation, Millis, NamespaceId, NamespaceName, NodeId, SessionId,
    ShardPlace, Shards, SubscriptionId, TopicId,
};
use std::time::Duration;

/// A machine that is driven by lines of text.
pub(crate) struct Script {
    driver: Driver,
    last: Vec<Step>,
    /// What the leader has read and not yet proposed.
    looked: Option<Step>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { driver: Driver::new(common::SHARD), last: Vec::new(), looked: None }
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
            ["peek", name, ref options @ ..] => return show::peek(self.driver.state(), &sub(name), options),
            ["trace", name, offset, subject] => {
                return show::trace(&self.driver, &topic(name), number(offset), subject);
            }
            ["letters", name] => return show::letters(self.driver.state(), &topic(name)),
            ["reload"] => {
                self.driver.machine = self.driver.reloaded();
                return Vec::new();
            }
            ["again"] => {}
            ["look"] => {
                self.looked = common::compacted(&self.driver);
                return Vec::new();
            }
            ["compact"] => match self.looked.take().or_else(|| common::compacted(&self.driver)) {
                Some(step) => self.last = vec![step],
                None => return vec!["nothing to compact".to_owned()],
            },
            ["look-scattered"] => {
                self.looked = common::gathered(&self.driver, 2);
                return Vec::new();
            }
            ["gather"] => match self.looked.take().or_else(|| common::gathered(&self.driver, 2)) {
                Some(step) => self.last = vec![step],
                None => return vec!["nothing to gather".to_owned()],
            },
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
        if is_unnumbered(&op) || matches!(op, Op::RaiseVersion { .. }) {
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
            | Op::OpenProducer { .. }
            | Op::CloseSession { .. }
            | Op::ExpireNode { .. }
            | Op::Tick
            | Op::Route { .. }
            | Op::FormCluster { .. }
            | Op::RegisterNode { .. }
            | Op::CreateNamespace { .. }
            | Op::KeepNamespace { .. }
            | Op::DeleteNamespace { .. }
            | Op::PutQuota { .. }
            | Op::DeleteQuota { .. }
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
    let runs: Vec<(&str, u32, MessageOptions)> = runs.iter().map(|word| run(word)).collect();
    let (publish, fragment) = common::publish_with(name, &runs);
    (Publish { create_topic: auto, mandatory, ..publish }, fragment)
}

/// `SUBJECT[*COUNT][|OPTION]…`
fn run(word: &str) -> (&str, u32, MessageOptions) {
    let mut parts = word.split('|');
    let head = parts.next().unwrap_or_default();
    let (subject, count) = match head.split_once('*') {
        Some((subject, count)) if count.parse::<u32>().is_ok() => (subject, small(count)),
        _ => (head, 1),
    };
    let mut options = MessageOptions::default();
    for part in parts {
        match part.split_once('=') {
            Some(("key", key)) => options.key = KeyHash::of(key.as_bytes()),
            Some(("priority", n)) => options.priority = u8::try_from(number(n)).unwrap(),
            Some(("ttl", ms)) => options.ttl_ms = number(ms),
            Some(("at", ms)) => options.deliver_at = Millis::new(number(ms)),
            Some(("delay", ms)) => options.delay_ms = number(ms),
            None if part == "empty" => options.tombstone = true,
            Some(("id", id)) => options.message_id = KeyHash::of(id.as_bytes()),
            _ => panic!("not an option: {part:?}"),
        }
    }
    (if subject == "''" { "" } else { subject }, count, options)
}

fn conversation(name: &str, args: &[&str]) -> Option<Op> {
    Some(match (name, args) {
        ("hello", [node, boot]) => {
            Op::Hello { node: NodeId::new(number(node)), boot: BootId::new(number(boot)) }
        }
        ("open-session", [ms]) => Op::OpenSession { timeout: Duration::from_millis(number(ms)) },
        ("open-producer", [p, ms, options @ ..]) => {
            let instance = u8::try_from(option(options, "as").unwrap_or(0)).unwrap();
            common::open_producer(p, instance, number(ms))
        }
        ("delete-producer", [p]) => Op::DeleteProducer { producer: common::producer(p) },
        ("close-session", [id]) => Op::CloseSession { session: SessionId::new(number(id)) },
        ("expire-node", [id]) => Op::ExpireNode { session: SessionId::new(number(id)) },
        ("tick", []) => Op::Tick,
        ("raise", []) => Op::RaiseVersion { to: Machine::VERSION },
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
        ("cancel", [t, offset]) => Op::Cancel { topic: topic(t), offset: number(offset) },
        ("purge", [s]) => Op::Purge { subscription: sub(s) },
        ("seek", [s, to]) => Op::Seek { subscription: sub(s), to: seek_to(to) },
        ("mark", [s, m]) => Op::Mark { subscription: sub(s), mark: mark(m) },
        ("unmark", [s, m]) => Op::DeleteMark { subscription: sub(s), mark: mark(m) },
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
        ("keep-namespace", [n, id]) => {
            Op::KeepNamespace { namespace: namespace(n), id: NamespaceId::new(number(id)) }
        }
        ("open-shard", [revision, place @ ..]) => Op::OpenShard {
            revision: number(revision),
            place: place.first().map_or(ShardPlace::ONLY, |p| shard_place(p)),
        },
        _ => return None,
    })
}

/// `SHARD/SHARDS`.
fn shard_place(word: &str) -> ShardPlace {
    let (shard, shards) = word.split_once('/').unwrap();
    ShardPlace { shard: small(shard), shards: Shards::new(small(shards)).unwrap() }
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
        ttl: option(options, "ttl").map(Duration::from_millis),
        alternate_topic: word(options, "alternate").map(topic),
        compacted: options.contains(&"compacted"),
        message_id_window: option(options, "window").map(Duration::from_millis),
        spread_by_key: options.contains(&"spread"),
    }
}

fn subscription(options: &[&str]) -> SubscriptionConfig {
    let default = SubscriptionConfig::default();
    SubscriptionConfig {
        lease_timeout: option(options, "lease").map_or(default.lease_timeout, Duration::from_millis),
        max_attempts: option(options, "attempts").map(|n| u32::try_from(n).unwrap()),
        backoff: word(options, "backoff").map_or(Backoff::None, backoff),
        dead_letter_topic: word(options, "dead").map(topic),
        dead_letter_expired: options.contains(&"expired"),
        backlog: BacklogLimit {
            messages_max: option(options, "messages-max"),
            bytes_max: option(options, "bytes-max"),
            when_full: match options {
                _ if options.contains(&"drop-oldest") => WhenFull::DropOldest,
                _ if options.contains(&"dead-letter-oldest") => WhenFull::DeadLetterOldest,
                _ => WhenFull::RejectPublish,
            },
        },
        priorities: options.contains(&"priorities"),
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

fn seek_to(word: &str) -> SeekTo {
    match word.split_once('=') {
        None => SeekTo::Start(Start::Latest),
        Some(("offset", offset)) => SeekTo::Start(Start::Offset(number(offset))),
        Some(("time", ms)) => SeekTo::Start(Start::Time(Millis::new(number(ms)))),
        Some(("mark", name)) => SeekTo::Mark(mark(name)),
        _ => panic!("not a place: {word:?}"),
    }
}

/// `OFFSET*COUNT`, or `OFFSET`, with options.
fn found(word: &str) -> Match {
    let (offset, count, options) = run(word);
    Match { offset: number(offset), count: u64::from(count), options }
}

fn kind(word: &str) -> Option<SubscriptionKind> {
    match word {
        "shared" => Some(SubscriptionKind::Shared),
        "exclusive" => Some(SubscriptionKind::Exclusive),
        "failover" => Some(SubscriptionKind::Failover),
        "key-shared" => Some(SubscriptionKind::KeyShared),
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

pub(super) fn option(options: &[&str], name: &str) -> Option<u64> {
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
