//! What each method of each service needs: one entry for each, or the program does not compile. The services themselves know
//! nothing of users.
//!
//! What a stream names is checked where it is read: for publishing in `services::publisher`, for consuming in
//! `services::consumer`.

mod access;
mod admin;
mod backup;
mod cluster;
mod conversations;
mod quotas;

use crate::auth::{Caller, Need};
use quorate_types::{Reason, Refusal};
use quorate_wire::{ConnectionInfo, refusal_of, status_of};
use tonic::{Request, Status};

/// A service, before which is checked who may do what.
#[derive(Clone)]
pub(crate) struct Guarded<S>(S);

impl<S> Guarded<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(service)
    }
}

/// Who asks.
///
/// # Errors
/// `UNAUTHENTICATED` for a call that did not come through the layer: better nobody comes in than anybody.
fn caller<R>(request: &Request<R>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| status_of(&Refusal::new(Reason::Unauthenticated, "nobody has looked at who asks")))
}

/// # Errors
/// The first need that is not met.
fn check<'a>(caller: &Caller, needs: impl IntoIterator<Item = Need<'a>>) -> Result<(), Status> {
    needs.into_iter().try_for_each(|need| caller.check(need)).map_err(|refusal| status_of(&refusal))
}

/// An administrative act, for the log with the target `audit`.
struct Act {
    act: &'static str,
    on: String,
    caller: Caller,
    remote: Option<std::net::SocketAddr>,
}

impl Act {
    /// `on`: what it is done to; `None` for what changes nothing.
    fn of<R>(act: &'static str, on: Option<String>, caller: &Caller, request: &Request<R>) -> Option<Self> {
        let remote = request.extensions().get::<ConnectionInfo>().map(|connection| connection.remote);
        Some(Self { act, on: on?, caller: caller.clone(), remote: remote.or_else(|| caller.remote()) })
    }

    fn ended<T>(&self, outcome: &Result<T, Status>) {
        let Self { act, on, caller, remote } = self;
        let user = caller.user().unwrap_or("(anybody)");
        let remote = remote.map(tracing::field::display);
        match outcome {
            Ok(_) => tracing::info!(target: "audit", user, remote, act, on, "done"),
            Err(status) => {
                let reason = refusal_of(status).reason.code();
                tracing::warn!(target: "audit", user, remote, act, on, reason, "not done");
            }
        }
    }
}

/// Makes the call that was checked, and says how an act ended.
///
/// # Errors
/// What the check said, else what the call says.
async fn guard<T>(
    checked: Result<(), Status>,
    act: Option<Act>,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let done = match checked {
        Ok(()) => call.await,
        Err(status) => Err(status),
    };
    if let Some(act) = act {
        act.ended(&done);
    }
    done
}

/// `method(Request) -> Response: |message| needs, on;`, where `on` is what an administrative act is done to, and `None` for what
/// changes nothing.
macro_rules! guarded {
    ($trait:ident for $service:ty; { $($more:tt)* } $($method:ident($request:ident) -> $response:ident: |$message:ident| $needs:expr, $on:expr;)*) => {
        #[tonic::async_trait]
        impl $trait for $crate::guards::Guarded<$service> {
            $($more)*
            $(async fn $method(
                &self,
                request: tonic::Request<v1::$request>,
            ) -> Result<tonic::Response<v1::$response>, tonic::Status> {
                let caller = $crate::guards::caller(&request)?;
                let (checked, act) = {
                    let $message = request.get_ref();
                    let act = $crate::guards::Act::of(stringify!($method), $on, &caller, &request);
                    ($crate::guards::check(&caller, $needs), act)
                };
                $crate::guards::guard(checked, act, self.0.$method(request)).await
            })*
        }
    };
}
use guarded;
