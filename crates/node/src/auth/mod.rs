//! Who asks, and whether they may.
//!
//! One layer before all services of the port for clients finds out who asks ([`AuthLayer`]); one guard around each service, which
//! names what each of its methods needs, decides whether they may (`crate::guards`). A method without an entry there does not
//! compile. Users and roles are state of group 0, of which every node has a view in memory ([`Access`]).

mod access;
mod caller;
mod config;
mod credentials;
mod first_user;
#[cfg(test)]
mod fuzz;
mod layer;
mod passed;
mod password;
mod token;
mod verified;
mod view;

pub(crate) use access::Access;
pub(crate) use caller::{Caller, Checked, Need};
pub use config::AuthConfig;
pub(crate) use first_user::make_first_user;
pub(crate) use layer::AuthLayer;
pub(crate) use passed::PASSED;
pub(crate) use password::hash_of_new;
pub use token::{TokenKeys, TokenKeysError};
pub(crate) use view::namespace_or_default;
