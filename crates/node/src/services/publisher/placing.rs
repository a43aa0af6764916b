//! On which shard of its namespace a request is done.

use super::commit;
use crate::gateway::{Gateway, NamespaceShards, ShardAt};
use crate::services::session;
use bytes::Bytes;
use quorate_types::{Reason, Refusal, Shards};
use quorate_wire as wire;
use quorate_wire::v1;

/// The shard of the request's session; without one the shard that it names, or the only one on which all of it belongs.
///
/// # Errors
/// `WRONG_SHARD` when it says too little, or two things; of a commit that belongs on several shards `CROSS_SHARD`.
pub(super) async fn shard_of(gateway: &Gateway, request: &v1::PublishRequest) -> Result<ShardAt, Refusal> {
    let all = gateway.shards(&request.namespace).await?;
    if request.session != 0 {
        return of_session(&all, request);
    }
    if request.shard.is_some() || !all.shards().are_several() {
        return all.one(request.shard);
    }
    if commit::settlements(request) > 0 {
        // Positions are counted on each shard.
        return all.one(None);
    }
    let mut where_to = Belongs::new(all.shards(), request.commit.is_some());
    for (topic, messages) in lists(request)? {
        let spread = gateway.is_spread(&all, &topic).await?;
        where_to.add(topic.as_str(), spread, messages)?;
    }
    all.at(where_to.shard())
}

/// The shard that the session is with. One that is with no shard of the namespace is not known there.
fn of_session(all: &NamespaceShards, request: &v1::PublishRequest) -> Result<ShardAt, Refusal> {
    let at = all.of_group(session::group_of(request.session)).map_or_else(|| all.at(0), Ok)?;
    match request.shard {
        Some(shard) if shard != at.place.shard => {
            let text = format!(
                "the session is one with shard {}, and the request names shard {shard}: open another session",
                at.place.shard
            );
            Err(Refusal::new(Reason::WrongShard, text))
        }
        _ => Ok(at),
    }
}

/// The topics of a request, with the messages to each.
fn lists(request: &v1::PublishRequest) -> Result<Vec<(quorate_types::TopicName, &Vec<Bytes>)>, Refusal> {
    let mut lists = Vec::with_capacity(1 + request.more.len());
    if commit::publishes(request) {
        lists.push((wire::topic(&request.topic)?, &request.messages));
    }
    for more in &request.more {
        lists.push((wire::topic_of_bytes(&more.topic)?, &more.messages));
    }
    Ok(lists)
}

/// Where the messages seen so far belong.
struct Belongs {
    shards: Shards,
    is_commit: bool,
    found: Option<u32>,
    /// Where what may lie anywhere goes, if there is nothing else: so that it is the same in each attempt.
    otherwise: Option<u32>,
}

impl Belongs {
    fn new(shards: Shards, is_commit: bool) -> Self {
        Self { shards, is_commit, found: None, otherwise: None }
    }

    fn add(&mut self, topic: &str, spread: bool, messages: &[Bytes]) -> Result<(), Refusal> {
        let home = self.shards.home_of(topic);
        if !spread {
            return self.note(home, topic);
        }
        self.otherwise.get_or_insert(home);
        for message in messages {
            if let Some(shard) = self.shards.of_key(wire::message_view(message)?.key) {
                self.note(shard, topic)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, shard: u32, topic: &str) -> Result<(), Refusal> {
        let first = *self.found.get_or_insert(shard);
        if first == shard {
            return Ok(());
        }
        let (reason, what) = match self.is_commit {
            true => (Reason::CrossShard, "a commit is one step of one shard"),
            false => (Reason::WrongShard, "a request goes to one shard: send one for each"),
        };
        let text = format!(
            "{what}, and messages belong on shard {first} and, to topic {topic}, on shard {shard}; nothing of it is done"
        );
        Err(Refusal::new(reason, text))
    }

    fn shard(&self) -> u32 {
        self.found.or(self.otherwise).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn messages(keys: &[&'static str]) -> Vec<Bytes> {
        let message = |key: &&'static str| v1::Message { key: key.as_bytes().into(), ..Default::default() };
        keys.iter().map(|key| message(key).encode_to_vec().into()).collect()
    }

    /// Of four shards: topic `orders` is at home on 1, `invoices` on 2; keys `k0` and `k4` belong on 3, `k1` on 1.
    fn belongs(is_commit: bool, lists: &[(&str, bool, &[&'static str])]) -> Result<u32, Reason> {
        let mut belongs = Belongs::new(Shards::new(4).unwrap(), is_commit);
        for (topic, spread, keys) in lists {
            belongs.add(topic, *spread, &messages(keys)).map_err(|refusal| refusal.reason)?;
        }
        Ok(belongs.shard())
    }

    #[test]
    fn all_that_a_request_publishes_must_belong_on_one_shard() {
        assert_eq!(belongs(false, &[("orders", false, &["k0", "k1"])]), Ok(1));
        assert_eq!(belongs(false, &[("orders", true, &["k0", "", "k4"])]), Ok(3));
        assert_eq!(belongs(false, &[("orders", true, &["", ""])]), Ok(1));
        assert_eq!(belongs(false, &[("invoices", true, &[""]), ("orders", false, &[""])]), Ok(1));
        assert_eq!(belongs(false, &[("orders", true, &["k0", "k1"])]), Err(Reason::WrongShard));
        let both: [(&str, bool, &[&'static str]); 2] = [("orders", false, &[""]), ("invoices", false, &[""])];
        assert_eq!(belongs(false, &both), Err(Reason::WrongShard));
        assert_eq!(belongs(true, &both), Err(Reason::CrossShard));
    }
}
