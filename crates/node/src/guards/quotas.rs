//! `quorate.v1.Quotas`.

use super::guarded;
use crate::auth::Need::Everywhere;
use crate::services::QuotasService;
use quorate_types::Permission::Administer;
use quorate_wire::v1::{self, quota::Of, quotas_server::Quotas};

/// Whose quota it is, for the log.
fn whose(quota: Option<&v1::Quota>) -> String {
    match quota.and_then(|quota| quota.of.as_ref()) {
        Some(Of::Namespace(name)) => format!("namespace {name}"),
        Some(Of::User(name)) => format!("user {name}"),
        None => "nobody".to_owned(),
    }
}

guarded! {
    Quotas for QuotasService; {}
    put(PutQuotaRequest) -> PutQuotaResponse: |m| [Everywhere(Administer)], Some(whose(m.quota.as_ref()));
    delete(DeleteQuotaRequest) -> DeleteQuotaResponse: |m| [Everywhere(Administer)], Some(whose(m.quota.as_ref()));
    list(ListQuotasRequest) -> ListQuotasResponse: |_m| [Everywhere(Administer)], None;
}
