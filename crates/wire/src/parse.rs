//! From the texts of a request to checked names; what does not pass is a refusal that names it.

use crate::view::MessageView;
use quorate_types::{
    Filter, MarkName, NamespaceName, ProducerName, Reason, Refusal, Subject, SubscriptionName, TopicName,
};
use std::fmt::Display;

fn invalid(error: impl Display) -> Refusal {
    Refusal::new(Reason::InvalidArgument, error.to_string())
}

/// A namespace; empty means `default`.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn namespace(name: &str) -> Result<NamespaceName, Refusal> {
    let name = if name.is_empty() { NamespaceName::DEFAULT } else { name };
    NamespaceName::parse(name).map_err(invalid)
}

/// A topic.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn topic(name: &str) -> Result<TopicName, Refusal> {
    TopicName::parse(name).map_err(invalid)
}

/// A topic whose name was left as it came.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn topic_of_bytes(name: &[u8]) -> Result<TopicName, Refusal> {
    topic(std::str::from_utf8(name).map_err(|_| invalid("the topic name is not UTF-8 text"))?)
}

/// A subscription.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn subscription(name: &str) -> Result<SubscriptionName, Refusal> {
    SubscriptionName::parse(name).map_err(invalid)
}

/// A mark of a subscription.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn mark(name: &str) -> Result<MarkName, Refusal> {
    MarkName::parse(name).map_err(invalid)
}

/// A producer.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn producer(name: &str) -> Result<ProducerName, Refusal> {
    ProducerName::parse(name).map_err(invalid)
}

/// A filter; empty means `#`.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn filter(text: &str) -> Result<Filter, Refusal> {
    Filter::parse(if text.is_empty() { Filter::ALL } else { text }).map_err(invalid)
}

/// A message's subject.
///
/// # Errors
/// `INVALID_ARGUMENT` with the rule that it breaks.
pub fn subject(text: &str) -> Result<Subject, Refusal> {
    Subject::parse(text).map_err(invalid)
}

/// Checks an encoded message and shows what routing needs.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is no well-formed message.
pub fn message_view(bytes: &[u8]) -> Result<MessageView<'_>, Refusal> {
    MessageView::parse(bytes).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_means_the_default_where_there_is_one() {
        assert_eq!(namespace("").unwrap().as_str(), "default");
        assert_eq!(filter("").unwrap().as_str(), "#");
        assert_eq!(subject("").unwrap().as_str(), "");
        assert_eq!(topic("").unwrap_err().reason, Reason::InvalidArgument);
        assert_eq!(subscription("a b").unwrap_err().reason, Reason::InvalidArgument);
        assert!(filter("a*").unwrap_err().message.contains("a*"));
    }
}
