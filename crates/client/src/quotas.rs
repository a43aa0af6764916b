//! How much tenants and users may do.

use crate::channel::Channel;
use crate::client::Client;
use crate::error::CallError;
use quorate_wire::v1;
use quorate_wire::v1::quotas_client::QuotasClient;

fn client_of(channel: Channel) -> QuotasClient<Channel> {
    QuotasClient::new(channel)
}

impl Client {
    /// Sets the quota of a namespace or a user, or replaces it.
    ///
    /// # Errors
    /// [`CallError`]: `INVALID_ARGUMENT`, `LIMIT_REACHED`, `UPGRADING`, or no answer.
    pub async fn put_quota(&self, quota: v1::Quota) -> Result<(), CallError> {
        let request = v1::PutQuotaRequest { quota: Some(quota) };
        let called =
            self.call(request, |channel, request| async move { client_of(channel).put(request).await });
        called.await.result.map(drop)
    }

    /// Takes a quota away; where there is none, nothing is done.
    ///
    /// # Errors
    /// [`CallError`]: `INVALID_ARGUMENT`, or no answer.
    pub async fn delete_quota(&self, of: v1::quota::Of) -> Result<(), CallError> {
        let quota = v1::Quota { of: Some(of), ..Default::default() };
        let request = v1::DeleteQuotaRequest { quota: Some(quota) };
        let called =
            self.call(request, |channel, request| async move { client_of(channel).delete(request).await });
        called.await.result.map(drop)
    }

    /// All quotas: of namespaces, then of users, by name.
    ///
    /// # Errors
    /// [`CallError`] when there is no answer.
    pub async fn quotas(&self) -> Result<Vec<v1::Quota>, CallError> {
        let request = v1::ListQuotasRequest {};
        let called =
            self.call(request, |channel, request| async move { client_of(channel).list(request).await });
        called.await.result.map(|response| response.quotas)
    }
}
