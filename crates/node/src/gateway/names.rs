//! From namespaces, and what is named in them, to groups.

use super::Gateway;
use quorate_consensus::Group;
use quorate_machine::NamespaceView;
use quorate_types::{GroupId, NamespaceName, Reason, Refusal, ShardPlace, Shards, TopicName};
use quorate_wire as wire;

/// One shard of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardAt {
    /// Its replicated log.
    pub(crate) group: GroupId,
    /// Which one it is.
    pub(crate) place: ShardPlace,
}

/// A namespace and where its shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceShards {
    name: NamespaceName,
    groups: Vec<GroupId>,
    shards: Shards,
}

impl NamespaceShards {
    pub(crate) fn of(view: NamespaceView) -> Result<Self, Refusal> {
        let NamespaceView { name, groups, .. } = view;
        let shards = u32::try_from(groups.len()).ok().and_then(|count| Shards::new(count).ok());
        let shards = shards.ok_or_else(|| {
            let text = format!("namespace {name} has no shards that this version knows: try another node");
            Refusal::new(Reason::NotReady, text)
        })?;
        Ok(Self { name, groups, shards })
    }

    /// How many there are.
    pub(crate) fn shards(&self) -> Shards {
        self.shards
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = ShardAt> {
        let shards = self.shards;
        let at = move |(shard, group): (u32, &GroupId)| ShardAt {
            group: *group,
            place: ShardPlace { shard, shards },
        };
        shards.numbers().zip(&self.groups).map(at)
    }

    /// All of them, the home of a topic first.
    pub(crate) fn home_first(&self, topic: &TopicName) -> Vec<ShardAt> {
        let mut all: Vec<ShardAt> = self.all().collect();
        let home = self.shards.home_of(topic.as_str());
        all.sort_by_key(|at| at.place.shard != home);
        all
    }

    /// The one of that number.
    ///
    /// # Errors
    /// `WRONG_SHARD` when there is none.
    pub(crate) fn at(&self, shard: u32) -> Result<ShardAt, Refusal> {
        self.all().find(|at| at.place.shard == shard).ok_or_else(|| {
            let text = format!("there is no shard {shard} of {}", self.described());
            Refusal::new(Reason::WrongShard, text)
        })
    }

    /// The one that is named, or the only one.
    ///
    /// # Errors
    /// `WRONG_SHARD` when there are several and none is named, or none of that number.
    pub(crate) fn one(&self, shard: Option<u32>) -> Result<ShardAt, Refusal> {
        match shard {
            Some(shard) => self.at(shard),
            None if self.shards.are_several() => {
                let text = format!("a shard must be named of {}", self.described());
                Err(Refusal::new(Reason::WrongShard, text))
            }
            None => self.at(0),
        }
    }

    /// The one of that group.
    pub(crate) fn of_group(&self, group: GroupId) -> Option<ShardAt> {
        self.all().find(|at| at.group == group)
    }

    fn described(&self) -> String {
        let (name, count) = (&self.name, self.shards.count());
        format!("namespace {name}, which has {count}, 0 to {}", count - 1)
    }
}

impl Gateway {
    /// The shards of a namespace. Before an unknown name is refused, the view is made current.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `NAMESPACE_NOT_FOUND`, or a retryable refusal when the cluster is still forming or the view cannot be made
    /// current.
    pub(crate) async fn shards(&self, namespace: &str) -> Result<NamespaceShards, Refusal> {
        let name = wire::namespace(namespace)?;
        match look(&self.running(GroupId::SYSTEM)?.group, &name) {
            Some((known, false)) => NamespaceShards::of(known),
            // Boxed, here and below: nested as deep as this is, the compiler gives up on the future's size.
            _ => Box::pin(self.current_shards(namespace)).await,
        }
    }

    /// [`Self::shards`] in a view that is made current first.
    ///
    /// # Errors
    /// As `shards`.
    pub(crate) async fn current_shards(&self, namespace: &str) -> Result<NamespaceShards, Refusal> {
        NamespaceShards::of(self.namespace(namespace).await?)
    }

    /// The shard of a namespace that is named, or its only one.
    ///
    /// # Errors
    /// As [`Self::shards`]; `WRONG_SHARD` when there are several and none is named.
    pub(crate) async fn shard(&self, namespace: &str, shard: Option<u32>) -> Result<ShardAt, Refusal> {
        self.shards(namespace).await?.one(shard)
    }

    /// The shard that is named, or the only one on which a topic lies. One that is not there yet would lie on its home.
    ///
    /// # Errors
    /// As [`Self::shard`]; `WRONG_SHARD` when the topic is spread and no shard is named.
    pub(crate) async fn shard_of_topic(
        &self,
        namespace: &str,
        shard: Option<u32>,
        topic: &TopicName,
    ) -> Result<ShardAt, Refusal> {
        let all = self.shards(namespace).await?;
        self.shard_of_topic_in(&all, shard, topic).await
    }

    /// The same, of a namespace that is known.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn shard_of_topic_in(
        &self,
        all: &NamespaceShards,
        shard: Option<u32>,
        topic: &TopicName,
    ) -> Result<ShardAt, Refusal> {
        if shard.is_some() || !all.shards().are_several() {
            return all.one(shard);
        }
        if Box::pin(self.is_spread(all, topic)).await? {
            let text =
                format!("topic {topic} is spread over all shards: one must be named of {}", all.described());
            return Err(Refusal::new(Reason::WrongShard, text));
        }
        all.at(all.shards().home_of(topic.as_str()))
    }

    /// Whether a topic of a namespace with several shards is spread over all of them. Before it is said that there is none the view
    /// is made current.
    ///
    /// # Errors
    /// A retryable refusal when the view cannot be made current.
    pub(crate) async fn is_spread(&self, all: &NamespaceShards, topic: &TopicName) -> Result<bool, Refusal> {
        let home = all.at(all.shards().home_of(topic.as_str()))?.group;
        let spread = |group: &Group| group.read(|m| m.shard().and_then(|shard| shard.is_spread(topic)));
        if let Some(spread) = spread(&self.running(home)?.group) {
            return Ok(spread);
        }
        let current = Box::pin(self.current(home, self.deadline())).await?;
        Ok(spread(&current).unwrap_or(false))
    }

    /// A namespace as group 0 has it after everything that was confirmed before the call.
    ///
    /// # Errors
    /// As [`Self::shards`]; `NAMESPACE_RESTORING` while it is restored.
    pub(crate) async fn namespace(&self, namespace: &str) -> Result<NamespaceView, Refusal> {
        match self.namespace_or_restored(namespace).await? {
            (view, false) => Ok(view),
            (view, true) => {
                let text =
                    format!("namespace {} is being restored: it is open when all of it is there", view.name);
                Err(Refusal::new(Reason::NamespaceRestoring, text))
            }
        }
    }

    /// The same, also one that is being restored, and whether it is.
    ///
    /// # Errors
    /// As [`Self::namespace`].
    pub(crate) async fn namespace_or_restored(
        &self,
        namespace: &str,
    ) -> Result<(NamespaceView, bool), Refusal> {
        let name = wire::namespace(namespace)?;
        let current = self.current(GroupId::SYSTEM, self.deadline()).await?;
        look(&current, &name).ok_or_else(|| missing(&current, &name))
    }
}

/// Why there is no such namespace. Even `default` comes with the first entry of a cluster only.
fn missing(system: &Group, name: &NamespaceName) -> Refusal {
    let formed = system.read(|machine| machine.system().is_some_and(|system| !system.nodes().is_empty()));
    if !formed {
        return Refusal::new(Reason::NotReady, "the cluster is forming");
    }
    let text = format!("there is no namespace {name}: create it first");
    Refusal::new(Reason::NamespaceNotFound, text)
}

/// A namespace, and whether it is being restored.
fn look(system: &Group, name: &NamespaceName) -> Option<(NamespaceView, bool)> {
    system.read(|machine| {
        let system = machine.system()?;
        let view = system.namespace(name)?;
        let restoring = system.is_restoring(view.id);
        Some((view, restoring))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::NamespaceId;

    fn namespace(groups: &[u64]) -> Result<NamespaceShards, Refusal> {
        NamespaceShards::of(NamespaceView {
            id: NamespaceId::new(1),
            name: wire::namespace("shop").unwrap(),
            groups: groups.iter().copied().map(GroupId::new).collect(),
            revision: 1,
        })
    }

    #[test]
    fn the_only_shard_need_not_be_named_and_one_of_several_must() {
        let (one, several) = (namespace(&[7]).unwrap(), namespace(&[7, 9, 8]).unwrap());
        let group = |found: Result<ShardAt, Refusal>| found.map(|at| at.group.get()).map_err(|r| r.reason);
        assert_eq!([None, Some(0)].map(|shard| group(one.one(shard))), [Ok(7), Ok(7)]);
        assert_eq!(group(one.one(Some(1))), Err(Reason::WrongShard));
        assert_eq!([Some(1), Some(2)].map(|shard| group(several.one(shard))), [Ok(9), Ok(8)]);
        assert_eq!([None, Some(3)].map(|s| group(several.one(s))), [Err(Reason::WrongShard); 2]);
        assert_eq!(several.of_group(GroupId::new(9)).map(|at| at.place.shard), Some(1));
        assert_eq!(namespace(&[]).map_err(|r| r.reason), Err(Reason::NotReady));
    }

    #[test]
    fn the_home_of_a_topic_comes_first() {
        let several = namespace(&[7, 9, 8]).unwrap();
        let topic = wire::topic("orders").unwrap();
        let order = several.home_first(&topic);
        assert_eq!((order.len(), order[0].place.is_home_of("orders")), (3, true));
    }
}
