//! `quorate.v1.Access`.

use super::{Act, caller, check, guard, guarded};
use crate::auth::Need::Everywhere;
use crate::services::AccessService;
use quorate_types::Permission::Administer;
use quorate_wire::v1::{self, access_server::Access};
use tonic::{Request, Response, Status};

guarded! {
    Access for AccessService; {
        async fn change_user(
            &self,
            request: Request<v1::ChangeUserRequest>,
        ) -> Result<Response<v1::ChangeUserResponse>, Status> {
            let caller = caller(&request)?;
            let m = request.get_ref();
            let act = Act::of("change_user", Some(m.user.clone()), &caller, &request);
            // Everybody may change the own password, and nothing else of themselves.
            let own = caller.user() == Some(m.user.as_str()) && m.roles.is_none() && !m.remove_password;
            let checked = check(&caller, (!own).then_some(Everywhere(Administer)));
            guard(checked, act, self.0.change_user(request)).await
        }
    }
    who_am_i(WhoAmIRequest) -> WhoAmIResponse: |_m| [], None;
    create_user(CreateUserRequest) -> CreateUserResponse: |m| [Everywhere(Administer)], Some(m.user.clone());
    delete_user(DeleteUserRequest) -> DeleteUserResponse: |m| [Everywhere(Administer)], Some(m.user.clone());
    list_users(ListUsersRequest) -> ListUsersResponse: |_m| [Everywhere(Administer)], None;
    put_role(PutRoleRequest) -> PutRoleResponse: |m| [Everywhere(Administer)], m.role.as_ref().map(|role| role.name.clone());
    delete_role(DeleteRoleRequest) -> DeleteRoleResponse: |m| [Everywhere(Administer)], Some(m.role.clone());
    list_roles(ListRolesRequest) -> ListRolesResponse: |_m| [Everywhere(Administer)], None;
}
