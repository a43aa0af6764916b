//! `quorate.v1.Quotas`.

use crate::gateway::Gateway;
use quorate_machine::{Op, Quota, QuotaOf};
use quorate_types::{GroupId, Reason, Refusal};
use quorate_wire as wire;
use quorate_wire::v1::{self, quota, quotas_server::Quotas};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub(crate) struct QuotasService {
    gateway: Gateway,
}

impl QuotasService {
    /// Through this gateway.
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    async fn change(&self, op: Op) -> Result<(), Refusal> {
        self.gateway.call(GroupId::SYSTEM, op, self.gateway.deadline()).await.map(drop)
    }

    async fn all(&self) -> Result<Vec<v1::Quota>, Refusal> {
        let system = self.gateway.current(GroupId::SYSTEM, self.gateway.deadline()).await?;
        let quotas = system.read(|m| m.system().map(|system| system.quotas())).unwrap_or_default();
        Ok(quotas.iter().map(message).collect())
    }
}

#[tonic::async_trait]
impl Quotas for QuotasService {
    async fn put(
        &self,
        request: Request<v1::PutQuotaRequest>,
    ) -> Result<Response<v1::PutQuotaResponse>, Status> {
        let put = async {
            let quota = request.into_inner().quota.unwrap_or_default();
            let of = of(quota.of.as_ref())?;
            let quota = Quota {
                messages_per_second: quota.messages_per_second,
                bytes_per_second: quota.bytes_per_second,
                streams_max: quota.streams_max,
            };
            self.change(Op::PutQuota { of, quota }).await
        };
        put.await.map(|()| Response::new(v1::PutQuotaResponse {})).map_err(|r| self.gateway.status(&r))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteQuotaRequest>,
    ) -> Result<Response<v1::DeleteQuotaResponse>, Status> {
        let deleted = async {
            let of = of(request.into_inner().quota.unwrap_or_default().of.as_ref())?;
            self.change(Op::DeleteQuota { of }).await
        };
        deleted.await.map(|()| Response::new(v1::DeleteQuotaResponse {})).map_err(|r| self.gateway.status(&r))
    }

    async fn list(
        &self,
        _: Request<v1::ListQuotasRequest>,
    ) -> Result<Response<v1::ListQuotasResponse>, Status> {
        let listed = self.all().await;
        listed
            .map(|quotas| Response::new(v1::ListQuotasResponse { quotas }))
            .map_err(|r| self.gateway.status(&r))
    }
}

fn of(given: Option<&quota::Of>) -> Result<QuotaOf, Refusal> {
    match given {
        Some(quota::Of::Namespace(name)) => Ok(QuotaOf::Namespace(wire::namespace(name)?)),
        Some(quota::Of::User(name)) => Ok(QuotaOf::User(name.clone())),
        None => {
            Err(Refusal::new(Reason::InvalidArgument, "the quota is nobody's: name a namespace or a user"))
        }
    }
}

fn message((of, quota): (&QuotaOf, &Quota)) -> v1::Quota {
    let of = match of {
        QuotaOf::Namespace(name) => quota::Of::Namespace(name.to_string()),
        QuotaOf::User(name) => quota::Of::User(name.clone()),
    };
    v1::Quota {
        of: Some(of),
        messages_per_second: quota.messages_per_second,
        bytes_per_second: quota.bytes_per_second,
        streams_max: quota.streams_max,
    }
}
