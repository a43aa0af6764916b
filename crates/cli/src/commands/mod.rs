//! One file per command: its arguments, and what it does with them.

mod backoff;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod consume;
pub(crate) mod dev;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod import;
mod look;
pub(crate) mod moving;
pub(crate) mod namespace;
pub(crate) mod producer;
pub(crate) mod prove;
pub(crate) mod publish;
pub(crate) mod quota;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod restore;
pub(crate) mod role;
pub(crate) mod serve;
pub(crate) mod subscription;
mod time;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod user;
