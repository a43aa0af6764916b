//! The gateway of a node: from the services to the groups that run here.

mod elsewhere;
mod handle;
mod limits;
mod names;
mod running;

pub(crate) use handle::{Gateway, GatewayParts};
pub(crate) use limits::GatewayLimits;
pub(crate) use names::{NamespaceShards, ShardAt};
pub(crate) use running::Running;
