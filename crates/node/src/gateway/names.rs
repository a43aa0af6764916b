//! From namespaces to groups.

use super::Gateway;
use quorate_consensus::Group;
use quorate_machine::NamespaceView;
use quorate_types::{GroupId, NamespaceName, Reason, Refusal};
use quorate_wire as wire;

impl Gateway {
    /// The group of a namespace's (only) shard. Before an unknown name is refused, the view is made current.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `NAMESPACE_NOT_FOUND`, or a retryable refusal when the view cannot be made current.
    pub(crate) async fn resolve(&self, namespace: &str) -> Result<GroupId, Refusal> {
        let name = wire::namespace(namespace)?;
        match look(&self.running(GroupId::SYSTEM)?.group, &name) {
            Some(known) => shard_of(&known),
            None => self.resolve_current(namespace).await,
        }
    }

    /// [`Self::resolve`] in a view that is made current first.
    ///
    /// # Errors
    /// As `resolve`.
    pub(crate) async fn resolve_current(&self, namespace: &str) -> Result<GroupId, Refusal> {
        shard_of(&self.namespace(namespace).await?)
    }

    /// A namespace as group 0 has it after everything that was confirmed before the call.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(crate) async fn namespace(&self, namespace: &str) -> Result<NamespaceView, Refusal> {
        let name = wire::namespace(namespace)?;
        let current = self.current(GroupId::SYSTEM, self.deadline()).await?;
        look(&current, &name).ok_or_else(|| {
            let text = format!("there is no namespace {name}: create it first");
            Refusal::new(Reason::NamespaceNotFound, text)
        })
    }
}

fn look(system: &Group, name: &NamespaceName) -> Option<NamespaceView> {
    system.read(|machine| machine.system()?.namespace(name))
}

fn shard_of(namespace: &NamespaceView) -> Result<GroupId, Refusal> {
    namespace.groups.first().copied().ok_or_else(|| {
        let text = format!("namespace {} has no shard yet: try again", namespace.name);
        Refusal::new(Reason::NotReady, text)
    })
}
