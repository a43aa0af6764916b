//! What a node knows of users and roles, and how it finds out who asks.

use super::caller::{Caller, Known, Need, Proof, unauthenticated};
use super::credentials::Credentials;
use super::password::Verifier;
use super::token::TokenKeys;
use super::verified::Verified;
use super::view::View;
use crate::core::Core;
use quorate_types::{Clock, Entropy, Reason, Refusal};
use quorate_wire::ConnectionInfo;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// An open conversation asks so often whether the token with which it began is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Clone handle. Empty until the node has its replica of group 0.
#[derive(Clone)]
pub(crate) struct Access(Arc<Inner>);

struct Inner {
    view: RwLock<Option<Arc<View>>>,
    /// One more with each change of the view.
    revision: watch::Sender<u64>,
    passwords: Verifier,
    tokens: Option<TokenKeys>,
    verified: Verified,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// Takes passwords, and tokens of these keys.
    pub(crate) fn new(tokens: Option<TokenKeys>, clock: Arc<dyn Clock>, entropy: &dyn Entropy) -> Self {
        Self(Arc::new(Inner {
            view: RwLock::new(None),
            revision: watch::Sender::new(0),
            passwords: Verifier::new(),
            tokens,
            verified: Verified::new(entropy),
            clock,
        }))
    }

    /// Follows users and roles in group 0, until the node stops.
    pub(crate) async fn follow(self, core: Core, changed: watch::Receiver<u64>) {
        core.follow_system(changed, View::of, |view| self.set(view)).await;
    }

    pub(super) fn set(&self, view: View) {
        *self.0.view.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
        self.0.revision.send_modify(|revision| *revision += 1);
    }

    fn view(&self) -> Result<Arc<View>, Refusal> {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        view.ok_or_else(|| {
            let text = "this node does not know the users yet: try again, or another node";
            Refusal::new(Reason::NotReady, text)
        })
    }

    /// Who asks.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`; `NOT_READY` while this node knows no users; `OVERLOADED` when too many passwords are being checked.
    pub(super) async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        connection: Option<&ConnectionInfo>,
    ) -> Result<Caller, Refusal> {
        let view = self.view()?;
        let remote = connection.map(|connection| connection.remote);
        let Some(header) = authorization else {
            let certified = connection.and_then(|connection| connection.certified.as_deref());
            let user = certified
                .into_iter()
                .flat_map(|names| names.all())
                .find(|name| view.users.contains_key(*name));
            return Ok(self.caller(user.ok_or_else(unauthenticated)?.to_owned(), Proof::Certificate, remote));
        };
        if let Some((user, proof)) = self.0.verified.get(header)
            && self.still(&view, &user, &proof).is_ok()
        {
            return Ok(self.caller(user, proof, remote));
        }
        let (user, proof) = self.prove(&view, header, remote).await?;
        self.0.verified.put(header, &user, &proof);
        Ok(self.caller(user, proof, remote))
    }

    async fn prove(
        &self,
        view: &View,
        header: &[u8],
        remote: Option<SocketAddr>,
    ) -> Result<(String, Proof), Refusal> {
        match Credentials::parse(header).ok_or_else(unauthenticated)? {
            Credentials::Password { user, password } => {
                let hash = view.users.get(&user).and_then(|user| user.password.clone());
                if !self.0.passwords.verify(password, hash.clone()).await? {
                    tracing::warn!(target: "audit", %user, remote = remote.map(tracing::field::display), "a password was wrong, or its user unknown");
                    return Err(unauthenticated());
                }
                Ok((user, Proof::Password(hash.ok_or_else(unauthenticated)?)))
            }
            Credentials::Token(token) => {
                let keys = self.0.tokens.as_ref().ok_or_else(unauthenticated)?;
                let claims = keys.verify(&token, self.seconds()).map_err(|error| {
                    tracing::warn!(target: "audit", remote = remote.map(tracing::field::display), %error, "a token was refused");
                    unauthenticated()
                })?;
                Ok((claims.user, Proof::Token { until: claims.until, roles: claims.roles.map(Into::into) }))
            }
        }
    }

    fn caller(&self, user: String, proof: Proof, remote: Option<SocketAddr>) -> Caller {
        Caller::Known(Arc::new(Known { user, remote, proof, access: self.clone() }))
    }

    fn seconds(&self) -> u64 {
        self.0.clock.now().get() / 1_000
    }

    /// Whether it is a token that is over.
    fn is_over(&self, proof: &Proof) -> bool {
        matches!(proof, Proof::Token { until, .. } if *until <= self.seconds())
    }

    /// The roles of somebody whose proof is still good.
    fn still(&self, view: &View, user: &str, proof: &Proof) -> Result<Arc<[String]>, Refusal> {
        let of_user = || view.users.get(user).map(|user| Arc::clone(&user.roles)).ok_or_else(unauthenticated);
        match proof {
            Proof::Password(hash) => {
                let known = view.users.get(user).and_then(|user| user.password.as_ref());
                if known == Some(hash) { of_user() } else { Err(unauthenticated()) }
            }
            token @ Proof::Token { .. } if self.is_over(token) => Err(unauthenticated()),
            Proof::Token { roles: Some(roles), .. } => Ok(Arc::clone(roles)),
            Proof::Token { roles: None, .. } => Ok(of_user().unwrap_or_else(|_| Arc::from([]))),
            Proof::Certificate => of_user(),
        }
    }

    pub(super) fn roles_of(&self, known: &Known) -> Result<Arc<[String]>, Refusal> {
        self.still(&*self.view()?, &known.user, &known.proof)
    }

    pub(super) fn check(&self, known: &Known, need: Need<'_>) -> Result<(), Refusal> {
        let view = self.view()?;
        let roles = self.still(&view, &known.user, &known.proof)?;
        if view.permits(&roles, need) {
            return Ok(());
        }
        let text =
            format!("user {} may not do this: it needs {need}, which none of its roles permits", known.user);
        Err(Refusal::new(Reason::PermissionDenied, text))
    }

    /// # Errors
    /// `UNAUTHENTICATED` when a token is over.
    pub(super) fn check_time(&self, known: &Known) -> Result<(), Refusal> {
        if self.is_over(&known.proof) { Err(unauthenticated()) } else { Ok(()) }
    }

    pub(super) fn revision(&self) -> u64 {
        *self.0.revision.borrow()
    }

    pub(super) async fn changed(&self, known: &Known, revision: u64) {
        let mut changes = self.0.revision.subscribe();
        let over = async {
            match known.proof {
                Proof::Token { .. } => {
                    while !self.is_over(&known.proof) {
                        sleep(LOOK_EVERY).await;
                    }
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = changes.wait_for(|now| *now != revision) => {}
            () = over => {}
        }
    }
}
