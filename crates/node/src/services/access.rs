//! `quorate.v1.Access`: users and roles.

use crate::auth::{Caller, hash_of_new};
use crate::core::Core;
use quorate_machine::{AccessChange, Grant, Op, RoleRecord, System, UserChange, UserRecord};
use quorate_types::{
    Entropy, Filter, GroupId, NamespaceName, Permission, Reason, Refusal, RoleName, UserName,
};
use quorate_wire::status_of;
use quorate_wire::v1::{self, access_server::Access};
use std::fmt::Display;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// All namespaces.
const EVERY_NAMESPACE: &str = "*";

/// The service.
#[derive(Clone)]
pub(crate) struct AccessService {
    core: Core,
    entropy: Arc<dyn Entropy>,
}

impl AccessService {
    /// `entropy`: for salts.
    pub(crate) fn new(core: Core, entropy: Arc<dyn Entropy>) -> Self {
        Self { core, entropy }
    }

    async fn change(&self, change: AccessChange) -> Result<(), Refusal> {
        let gateway = &self.core.gateway;
        gateway.call(GroupId::SYSTEM, Op::Access(change), gateway.deadline()).await?;
        // The next call through this node meets the change.
        gateway.current(GroupId::SYSTEM, gateway.deadline()).await.map(drop)
    }

    async fn look<R>(&self, look: impl FnOnce(&System) -> R) -> Result<R, Refusal> {
        let gateway = &self.core.gateway;
        let system = gateway.current(GroupId::SYSTEM, gateway.deadline()).await?;
        let other = || Refusal::new(Reason::NotReady, "group 0 has no system");
        system.read(|machine| machine.system().map(look)).ok_or_else(other)
    }

    async fn create(&self, m: v1::CreateUserRequest) -> Result<(), Refusal> {
        let (name, roles) = (user(&m.user)?, roles(&m.roles)?);
        let password = match m.password {
            Some(password) => Some(hash_of_new(&password, &*self.entropy).await?),
            None => None,
        };
        self.change(AccessChange::CreateUser { user: UserRecord { name, password, roles }, first: false })
            .await
    }

    async fn change_user_checked(&self, m: v1::ChangeUserRequest) -> Result<(), Refusal> {
        let name = user(&m.user)?;
        let password = match (m.password, m.remove_password) {
            (Some(_), true) => return Err(invalid("a password is either changed or taken away")),
            (Some(password), false) => Some(Some(hash_of_new(&password, &*self.entropy).await?)),
            (None, true) => Some(None),
            (None, false) => None,
        };
        let roles = m.roles.map(|new| roles(&new.names)).transpose()?;
        self.change(AccessChange::ChangeUser { user: name, change: UserChange { password, roles } }).await
    }
}

fn invalid(text: impl Display) -> Refusal {
    Refusal::new(Reason::InvalidArgument, text.to_string())
}

fn user(name: &str) -> Result<UserName, Refusal> {
    UserName::parse(name).map_err(invalid)
}

fn role(name: &str) -> Result<RoleName, Refusal> {
    RoleName::parse(name).map_err(invalid)
}

fn roles(names: &[String]) -> Result<Vec<RoleName>, Refusal> {
    names.iter().map(|name| role(name)).collect()
}

pub(super) fn grant(given: &v1::Grant) -> Result<Grant, Refusal> {
    let permission = |text: &String| {
        let known = Permission::ALL.map(Permission::as_str).join(", ");
        Permission::from_text(text)
            .ok_or_else(|| invalid(format!("there is no permission {text:?}: there are {known}")))
    };
    let namespace = match given.namespace.as_str() {
        EVERY_NAMESPACE => None,
        name => Some(NamespaceName::parse(name).map_err(invalid)?),
    };
    let names = Filter::parse(&given.names).map_err(invalid)?;
    let permissions = given.permissions.iter().map(permission).collect::<Result<_, _>>()?;
    Ok(Grant { permissions, namespace, names })
}

pub(super) fn grant_message(grant: &Grant) -> v1::Grant {
    let namespace = grant.namespace.as_ref().map_or(EVERY_NAMESPACE, |n| n.as_str()).to_owned();
    let permissions = grant.permissions.iter().map(ToString::to_string).collect();
    v1::Grant { permissions, namespace, names: grant.names.to_string() }
}

fn user_message(user: &UserRecord) -> v1::User {
    v1::User {
        name: user.name.to_string(),
        roles: user.roles.iter().map(ToString::to_string).collect(),
        has_password: user.password.is_some(),
    }
}

fn role_message(role: &RoleRecord) -> v1::UserRole {
    v1::UserRole { name: role.name.to_string(), grants: role.grants.iter().map(grant_message).collect() }
}

fn answer<T>(outcome: Result<T, Refusal>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|refusal| status_of(&refusal))
}

#[tonic::async_trait]
impl Access for AccessService {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        let user = caller.and_then(Caller::user).unwrap_or_default().to_owned();
        answer(Ok(v1::WhoAmIResponse { user, roles: caller.map(Caller::roles).unwrap_or_default() }))
    }

    async fn create_user(
        &self,
        request: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        answer(self.create(request.into_inner()).await.map(|()| v1::CreateUserResponse {}))
    }

    async fn change_user(
        &self,
        request: Request<v1::ChangeUserRequest>,
    ) -> Result<Response<v1::ChangeUserResponse>, Status> {
        answer(self.change_user_checked(request.into_inner()).await.map(|()| v1::ChangeUserResponse {}))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let done =
            async { self.change(AccessChange::DeleteUser { user: user(&request.get_ref().user)? }).await };
        answer(done.await.map(|()| v1::DeleteUserResponse {}))
    }

    async fn list_users(
        &self,
        _: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let users = self.look(|system| system.users().iter().map(user_message).collect()).await;
        answer(users.map(|users| v1::ListUsersResponse { users }))
    }

    async fn put_role(
        &self,
        request: Request<v1::PutRoleRequest>,
    ) -> Result<Response<v1::PutRoleResponse>, Status> {
        let done = async {
            let given = request.into_inner().role.unwrap_or_default();
            let grants = given.grants.iter().map(grant).collect::<Result<_, _>>()?;
            self.change(AccessChange::PutRole { role: RoleRecord { name: role(&given.name)?, grants } }).await
        };
        answer(done.await.map(|()| v1::PutRoleResponse {}))
    }

    async fn delete_role(
        &self,
        request: Request<v1::DeleteRoleRequest>,
    ) -> Result<Response<v1::DeleteRoleResponse>, Status> {
        let done =
            async { self.change(AccessChange::DeleteRole { role: role(&request.get_ref().role)? }).await };
        answer(done.await.map(|()| v1::DeleteRoleResponse {}))
    }

    async fn list_roles(
        &self,
        _: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let roles = self.look(|system| system.roles().iter().map(role_message).collect()).await;
        answer(roles.map(|roles| v1::ListRolesResponse { roles }))
    }
}
