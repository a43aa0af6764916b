//! On which shards of a namespace a change is made, and in what order: the same for a node that is asked for all of it, and for a
//! client that makes it shard by shard, under numbers of its own.
//!
//! What is left halfway must be seen, and be repeatable. What a topic's home has decides whether it is there: so the home comes first
//! when a topic is made, and last when it goes.

use quorate_types::{Reason, Refusal, Shards};

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A topic that is to be: on all shards if it is spread, else on its home.
    NewTopic {
        /// Its name.
        name: &'a str,
        /// Whether it is to be spread by key.
        spread: bool,
    },
    /// A topic, wherever it lies.
    Topic(&'a str),
    /// A topic that is to go, from wherever it, or a part of it, may be.
    GoneTopic(&'a str),
    /// A binding of a topic that is to go.
    GoneBinding(&'a str),
    /// A message, or an offset, of a topic: on one shard.
    Message(&'a str),
    /// A subscription, which is on all shards. With a topic: that has to do with it, so its home is asked first.
    Subscription(Option<&'a str>),
    /// A subscription that is to go.
    GoneSubscription,
    /// A mark of a subscription that is to go.
    GoneMark,
    /// What is on one shard and does not say on which.
    OneShard,
}

impl<'a> Scope<'a> {
    /// The topic of which must be known whether it is spread.
    #[must_use]
    pub fn topic(self) -> Option<&'a str> {
        match self {
            Self::Topic(topic) | Self::GoneTopic(topic) | Self::GoneBinding(topic) | Self::Message(topic) => {
                Some(topic)
            }
            _ => None,
        }
    }

    /// The shards that it concerns, in order. `is_spread`: of [`Self::topic`], if there is one; `None`: it is not on its home.
    ///
    /// # Errors
    /// `WRONG_SHARD` when the change is one of a single shard which must be named.
    pub fn shards(self, shards: Shards, is_spread: Option<bool>) -> Result<Vec<u32>, Refusal> {
        let everywhere = is_spread == Some(true);
        match self {
            Self::NewTopic { name, spread: true } => Ok(shards.from_home(name).collect()),
            Self::NewTopic { name, spread: false } => Ok(vec![shards.home_of(name)]),
            Self::Topic(name) | Self::GoneBinding(name) if everywhere => Ok(shards.from_home(name).collect()),
            Self::Topic(name) | Self::GoneBinding(name) => Ok(vec![shards.home_of(name)]),
            Self::Message(name) if !everywhere => Ok(vec![shards.home_of(name)]),
            Self::GoneTopic(name) if is_spread == Some(false) => Ok(vec![shards.home_of(name)]),
            // Also one of which only parts are left.
            Self::GoneTopic(name) => Ok(shards.from_home(name).rev().collect()),
            Self::Subscription(Some(topic)) => Ok(shards.from_home(topic).collect()),
            Self::Subscription(None) | Self::GoneSubscription | Self::GoneMark => {
                Ok(shards.numbers().collect())
            }
            Self::Message(_) | Self::OneShard => {
                let count = shards.count();
                let text = format!(
                    "this is about one shard of {count}: name it, 0 to {}; offsets and producers are counted on each",
                    count - 1
                );
                Err(Refusal::new(Reason::WrongShard, text))
            }
        }
    }

    /// Whether a shard that refuses for this reason has done its part: a change before this one was left halfway, or the topic was
    /// never there.
    #[must_use]
    pub fn may_be_missing(self, reason: Reason) -> bool {
        match self {
            Self::GoneTopic(_) => matches!(reason, Reason::TopicNotFound | Reason::WrongShard),
            Self::GoneBinding(_) => reason == Reason::BindingNotFound,
            Self::GoneSubscription => reason == Reason::SubscriptionNotFound,
            Self::GoneMark => reason == Reason::MarkNotFound,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_comes_to_its_home_first_and_leaves_it_last() {
        let four = Shards::new(4).unwrap();
        let of =
            |scope: Scope<'_>, spread| scope.shards(four, Some(spread)).map_err(|refusal| refusal.reason);
        // Its home is shard 2.
        let name = "invoices";
        assert_eq!(of(Scope::NewTopic { name, spread: true }, false), Ok(vec![2, 0, 1, 3]));
        assert_eq!(of(Scope::NewTopic { name, spread: false }, false), Ok(vec![2]));
        assert_eq!(of(Scope::GoneTopic(name), true), Ok(vec![3, 1, 0, 2]));
        assert_eq!(of(Scope::GoneTopic(name), false), Ok(vec![2]));
        assert_eq!(Scope::GoneTopic(name).shards(four, None).ok(), Some(vec![3, 1, 0, 2]));
        assert_eq!(of(Scope::Topic(name), true), Ok(vec![2, 0, 1, 3]));
        assert_eq!(of(Scope::Topic(name), false), Ok(vec![2]));
        assert_eq!(of(Scope::Subscription(Some(name)), false), Ok(vec![2, 0, 1, 3]));
        assert_eq!(of(Scope::GoneSubscription, false), Ok(vec![0, 1, 2, 3]));
        assert_eq!(of(Scope::Message(name), false), Ok(vec![2]));
        assert_eq!(of(Scope::Message(name), true), Err(Reason::WrongShard));
        assert_eq!(of(Scope::OneShard, false), Err(Reason::WrongShard));
    }
}
