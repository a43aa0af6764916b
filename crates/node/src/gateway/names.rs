//! From namespaces to groups.

use super::Gateway;
use quorate_consensus::Group;
use quorate_types::{GroupId, NamespaceId, NamespaceName, Reason, Refusal};
use quorate_wire as wire;

impl Gateway {
    /// The group of a namespace's (only) shard. Before an unknown name is refused, the view is made current.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `NAMESPACE_NOT_FOUND`, or a retryable refusal when the view cannot be made current.
    pub(crate) async fn resolve(&self, namespace: &str) -> Result<GroupId, Refusal> {
        let (_, groups) = self.namespace(namespace).await?;
        groups.first().copied().ok_or_else(|| {
            Refusal::new(Reason::NotReady, format!("namespace {namespace:?} has no shard yet: try again"))
        })
    }

    /// Id and groups of a namespace, by shard; as [`Self::resolve`].
    ///
    /// # Errors
    /// As `resolve`.
    pub(crate) async fn namespace(&self, namespace: &str) -> Result<(NamespaceId, Vec<GroupId>), Refusal> {
        let name = wire::namespace(namespace)?;
        if let Some(found) = look(&self.running(GroupId::SYSTEM)?.group, &name) {
            return Ok(found);
        }
        let current = self.current(GroupId::SYSTEM, self.deadline()).await?;
        look(&current, &name).ok_or_else(|| {
            let text = format!("there is no namespace {name}: create it first");
            Refusal::new(Reason::NamespaceNotFound, text)
        })
    }
}

fn look(system: &Group, name: &NamespaceName) -> Option<(NamespaceId, Vec<GroupId>)> {
    system.read(|machine| {
        let found = machine.system()?.namespace(name)?;
        Some((found.id, found.groups.clone()))
    })
}
