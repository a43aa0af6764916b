//! Who asks, as the node at which a client asked tells the node that serves the call in its place.
//!
//! Only nodes get to the peers' port: they prove by their certificates that they are some. So what a node says there is believed, as
//! everything else that it says; that whoever asks exists still, and may do this, is looked up where it is done.

use super::access::Access;
use super::caller::{Caller, Known, Proof};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::codegen::http::HeaderValue;

/// The header with it.
pub(crate) const PASSED: &str = "quorate-caller";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    user: String,
    /// Of a token: when it is over, in seconds since 1970, and its roles.
    until: Option<u64>,
    roles: Option<Vec<String>>,
    remote: Option<SocketAddr>,
}

impl Caller {
    /// For the header; `None` where nobody needs to say who they are.
    pub(crate) fn passed_on(&self) -> Option<HeaderValue> {
        let Self::Known(known) = self else { return None };
        let (until, roles) = match &known.proof {
            Proof::Token { until, roles } => (Some(*until), roles.as_ref().map(|roles| roles.to_vec())),
            Proof::Password(_) | Proof::Certificate => (None, None),
        };
        let passed = Passed { user: known.user.clone(), until, roles, remote: known.remote };
        HeaderValue::try_from(STANDARD.encode(serde_json::to_vec(&passed).ok()?)).ok()
    }
}

impl Access {
    /// Who asks, by what another node says. It may do nothing if that is nothing of the kind.
    pub(super) fn passed(&self, header: &[u8]) -> Caller {
        let decoded = STANDARD.decode(header).ok();
        let passed: Option<Passed> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(Passed { user, until, roles, remote }) = passed else { return Caller::Nobody };
        let proof = match until {
            Some(until) => Proof::Token { until, roles: roles.map(Into::into) },
            None => Proof::Certificate,
        };
        Caller::Known(Arc::new(Known { user, remote, proof, access: self.clone() }))
    }
}
