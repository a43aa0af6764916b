//! Changes and looks, on whichever shards of a namespace they concern.
//!
//! A change that concerns several shards is made on one after the other (see [`Scope`]), and answered when all have applied it.

use super::admin::AdminService;
use super::session;
use crate::gateway::{NamespaceShards, ShardAt};
use futures::future::try_join_all;
use quorate_machine::{Answer, Machine, Op};
use quorate_types::{GroupId, Reason, Refusal};
use quorate_wire::{self as wire, Scope, v1};

/// Where, and under which number, a change is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) namespace: &'a str,
    pub(super) shard: Option<u32>,
    pub(super) number: Option<v1::Number>,
}

impl AdminService {
    /// A change, under the caller's number when it gave one. Answers of the shards, in the order in which they were asked.
    pub(super) async fn change(
        &self,
        asked: Asked<'_>,
        scope: Scope<'_>,
        op: &Op,
    ) -> Result<Vec<Answer>, Refusal> {
        let all = self.gateway().shards(asked.namespace).await?;
        let done = self.change_on(&all, asked, scope, op).await;
        if done.as_ref().err().is_none_or(|refusal| refusal.reason != Reason::NamespaceNotFound) {
            return done;
        }
        // Its namespace was being deleted. Perhaps it is there anew, and the view here was old.
        let now = self.gateway().current_shards(asked.namespace).await?;
        if now == all { done } else { self.change_on(&now, asked, scope, op).await }
    }

    async fn change_on(
        &self,
        all: &NamespaceShards,
        asked: Asked<'_>,
        scope: Scope<'_>,
        op: &Op,
    ) -> Result<Vec<Answer>, Refusal> {
        if asked.shard.is_some() || !all.shards().are_several() {
            let at = all.one(asked.shard)?;
            self.check(all, at, scope).await?;
            return Ok(vec![self.change_in(at.group, asked.number, op.clone()).await?]);
        }
        if asked.number.is_some() {
            let text = "a numbered change in a namespace with several shards names its shard: make it on each, under a number of a conversation with that";
            return Err(Refusal::new(Reason::WrongShard, text));
        }
        let places = self.places(all, scope).await?;
        let (mut answers, mut missing) = (Vec::with_capacity(places.len()), None);
        for at in places {
            match self.change_in(at.group, None, op.clone()).await {
                Ok(answer) => answers.push(answer),
                Err(refusal) if scope.may_be_missing(refusal.reason) => missing = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        match missing {
            Some(refusal) if answers.is_empty() => Err(refusal),
            _ => Ok(answers),
        }
    }

    /// Of several shards those that a change concerns, in order.
    async fn places(&self, all: &NamespaceShards, scope: Scope<'_>) -> Result<Vec<ShardAt>, Refusal> {
        let is_spread = match scope.topic() {
            Some(topic) => self.is_spread(all, topic).await?,
            None => None,
        };
        self.check_unused(all, scope).await?;
        scope.shards(all.shards(), is_spread)?.into_iter().map(|shard| all.at(shard)).collect()
    }

    /// Whether a topic is spread over several shards, as its home has it now: a change must not leave one of them out. `None`: it
    /// is not there.
    pub(super) async fn is_spread(
        &self,
        all: &NamespaceShards,
        topic: &str,
    ) -> Result<Option<bool>, Refusal> {
        let (home, topic) = (all.at(all.shards().home_of(topic))?, wire::topic(topic)?);
        let look = |_, machine: &Machine| Ok(machine.shard().and_then(|shard| shard.is_spread(&topic)));
        Ok(self.look_at(vec![home], look).await?.into_iter().flatten().next())
    }

    /// Whether a change may be made on one of several shards alone.
    async fn check(&self, all: &NamespaceShards, at: ShardAt, scope: Scope<'_>) -> Result<(), Refusal> {
        match scope {
            // No topic is made where nobody would look for it. The group knows that as well, once it is opened.
            Scope::NewTopic { name, spread: false } if !at.place.is_home_of(name) => {
                let text = format!("shard {} is not the home of topic {name}", at.place.shard);
                Err(Refusal::new(Reason::WrongShard, text))
            }
            _ if all.shards().are_several() => self.check_unused(all, scope).await,
            _ => Ok(()),
        }
    }

    /// A topic that is used on some shard is taken away on none.
    async fn check_unused(&self, all: &NamespaceShards, scope: Scope<'_>) -> Result<(), Refusal> {
        let Scope::GoneTopic(topic) = scope else { return Ok(()) };
        let topic = wire::topic(topic)?;
        let unused =
            |_, machine: &Machine| machine.shard().map_or(Ok(()), |shard| shard.check_unused(&topic));
        self.look_at(all.all().collect(), unused).await.map(drop)
    }

    async fn change_in(&self, group: GroupId, number: Option<v1::Number>, op: Op) -> Result<Answer, Refusal> {
        match number {
            None => self.gateway().call(group, op, self.deadline()).await,
            Some(v1::Number { session, sequence }) => {
                let number = (session::of_client(group, session)?, sequence);
                self.gateway().call_numbered(group, op, number, self.deadline()).await
            }
        }
    }

    /// A look at the shard that is named, or at all of them, as current as their leaders: what the answering replica has after
    /// a read index, so that what was confirmed before the call is seen.
    pub(super) async fn look<R>(
        &self,
        namespace: &str,
        shard: Option<u32>,
        view: impl Fn(ShardAt, &Machine) -> Result<R, Refusal>,
    ) -> Result<Vec<R>, Refusal> {
        let all = self.gateway().shards(namespace).await?;
        let places = match shard {
            Some(shard) => vec![all.at(shard)?],
            None => all.all().collect(),
        };
        self.look_at(places, view).await
    }

    pub(super) async fn look_at<R>(
        &self,
        places: Vec<ShardAt>,
        view: impl Fn(ShardAt, &Machine) -> Result<R, Refusal>,
    ) -> Result<Vec<R>, Refusal> {
        let deadline = self.deadline();
        let current = places.iter().map(|at| self.gateway().current(at.group, deadline));
        let groups = try_join_all(current).await?;
        places.into_iter().zip(groups).map(|(at, group)| group.read(|machine| view(at, machine))).collect()
    }
}
