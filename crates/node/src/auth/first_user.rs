//! The first user of a cluster: without one nobody could make another.

use super::password::hash_of_new;
use crate::core::Core;
use quorate_machine::{AccessChange, Op, UserRecord};
use quorate_types::{Entropy, GroupId, Reason, Refusal, RoleName, UserName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two attempts: the cluster may have no leader yet, or nodes with an older program.
const EVERY: Duration = Duration::from_secs(1);

/// Makes the user `admin` with the password in the file, unless the cluster has users. Every node of a new cluster tries; one
/// succeeds.
pub(crate) async fn make_first_user(core: Core, file: Option<PathBuf>, entropy: Arc<dyn Entropy>) {
    let mut told = None;
    while !core.stop.is_cancelled() {
        if core.gateway.current(GroupId::SYSTEM, Instant::now() + core.operation_timeout).await.is_ok() {
            if core.system(|system| system.has_users()) == Some(true) {
                return;
            }
            let Some(file) = &file else {
                tracing::warn!(
                    "the cluster has no users, and auth.admin_password_file is not given: only tokens with the role admin come in"
                );
                return;
            };
            match make(&core, file, &*entropy).await {
                Ok(()) => {
                    return tracing::info!(target: "audit", user = UserName::ADMIN, "the first user was created");
                }
                Err(refusal) if refusal.reason == Reason::UserExists => return,
                Err(refusal) if told.as_ref() != Some(&refusal) => {
                    tracing::warn!(%refusal, "the first user is not created yet");
                    told = Some(refusal);
                }
                Err(_) => {}
            }
        }
        sleep(EVERY).await;
    }
}

async fn make(core: &Core, file: &Path, entropy: &dyn Entropy) -> Result<(), Refusal> {
    let unreadable = |error: std::io::Error| {
        Refusal::new(Reason::InvalidArgument, format!("cannot read {}: {error}", file.display()))
    };
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
    let text = read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(unreadable)?;
    let password = hash_of_new(text.trim_end_matches(['\r', '\n']), entropy).await?;
    let invalid = |text: String| Refusal::new(Reason::InvalidArgument, text);
    let user = UserRecord {
        name: UserName::parse(UserName::ADMIN).map_err(|e| invalid(e.to_string()))?,
        password: Some(password),
        roles: vec![RoleName::parse(RoleName::ADMIN).map_err(|e| invalid(e.to_string()))?],
    };
    let op = Op::Access(AccessChange::CreateUser { user, first: true });
    core.gateway.call(GroupId::SYSTEM, op, core.gateway.deadline()).await.map(drop)
}
