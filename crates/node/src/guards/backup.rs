//! `quorate.v1.Backup`.

use super::{Act, caller, check, guard, guarded};
use crate::auth::Need::{Everywhere, Somewhere};
use crate::services::BackupService;
use quorate_types::Permission::Administer;
use quorate_wire::v1::{self, backup_server::Backup};
use tonic::{Request, Response, Status};

guarded! {
    Backup for BackupService; {
        type CopyStream = <BackupService as Backup>::CopyStream;

        // A copy holds the messages of all topics, whatever their names.
        async fn copy(&self, request: Request<v1::CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
            let caller = caller(&request)?;
            let act = Act::of("copy", Some(request.get_ref().namespace.clone()), &caller, &request);
            guard(check(&caller, [Everywhere(Administer)]), act, self.0.copy(request)).await
        }
    }
    begin_restore(BeginRestoreRequest) -> BeginRestoreResponse: |m| [Somewhere(Administer, &m.namespace)], Some(m.namespace.clone());
    // Thousands of them make one act, which its beginning and its end tell of.
    put_part(PutPartRequest) -> PutPartResponse: |m| [Somewhere(Administer, &m.namespace)], None;
    end_restore(EndRestoreRequest) -> EndRestoreResponse: |m| [Somewhere(Administer, &m.namespace)], Some(m.namespace.clone());
}
