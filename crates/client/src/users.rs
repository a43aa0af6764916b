//! Users and roles.

use crate::channel::Channel;
use crate::client::Client;
use crate::error::CallError;
use quorate_wire::v1::access_client::AccessClient;
use quorate_wire::{CLIENT_BYTES_MAX, v1};
use std::future::Future;
use tonic::{Response, Status};

impl Client {
    async fn access<Q, T, F, A>(&self, request: Q, attempt: F) -> Result<T, CallError>
    where
        Q: Clone,
        F: Fn(AccessClient<Channel>, Q) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let client = |channel| AccessClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX);
        self.call(request, |channel, request| attempt(client(channel), request)).await.result
    }

    /// Who the nodes take this client for.
    ///
    /// # Errors
    /// [`CallError`]: `UNAUTHENTICATED`, or no answer.
    pub async fn who_am_i(&self) -> Result<v1::WhoAmIResponse, CallError> {
        let request = v1::WhoAmIRequest {};
        self.access(request, |mut access, request| async move { access.who_am_i(request).await }).await
    }

    /// Creates a user; without a password it comes with a token or a certificate. Without an answer it may be there: asking again
    /// is then answered `USER_EXISTS`.
    ///
    /// # Errors
    /// [`CallError`]: `USER_EXISTS`, `ROLE_NOT_FOUND`, `INVALID_ARGUMENT`, `PERMISSION_DENIED`, or no answer.
    pub async fn create_user(
        &self,
        user: &str,
        password: Option<&str>,
        roles: &[String],
    ) -> Result<(), CallError> {
        let (user, password) = (user.to_owned(), password.map(str::to_owned));
        let request = v1::CreateUserRequest { user, roles: roles.to_vec(), password };
        let called =
            self.access(request, |mut access, request| async move { access.create_user(request).await });
        called.await.map(drop)
    }

    /// Changes a user's password, or takes it away.
    ///
    /// # Errors
    /// [`CallError`]: `USER_NOT_FOUND`, `INVALID_ARGUMENT`, `PERMISSION_DENIED`, or no answer.
    pub async fn change_password(&self, user: &str, password: Option<&str>) -> Result<(), CallError> {
        let (remove_password, password) = (password.is_none(), password.map(str::to_owned));
        self.change_user(v1::ChangeUserRequest {
            user: user.to_owned(),
            password,
            remove_password,
            roles: None,
        })
        .await
    }

    /// Gives a user these roles, and no others.
    ///
    /// # Errors
    /// [`CallError`]: `USER_NOT_FOUND`, `ROLE_NOT_FOUND`, `PERMISSION_DENIED`, or no answer.
    pub async fn set_roles(&self, user: &str, roles: &[String]) -> Result<(), CallError> {
        let roles = Some(v1::Roles { names: roles.to_vec() });
        let request = v1::ChangeUserRequest { user: user.to_owned(), roles, ..Default::default() };
        self.change_user(request).await
    }

    async fn change_user(&self, request: v1::ChangeUserRequest) -> Result<(), CallError> {
        let called =
            self.access(request, |mut access, request| async move { access.change_user(request).await });
        called.await.map(drop)
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`CallError`]: `USER_NOT_FOUND`, `PERMISSION_DENIED`, or no answer.
    pub async fn delete_user(&self, user: &str) -> Result<(), CallError> {
        let request = v1::DeleteUserRequest { user: user.to_owned() };
        let called =
            self.access(request, |mut access, request| async move { access.delete_user(request).await });
        called.await.map(drop)
    }

    /// The users, by name.
    ///
    /// # Errors
    /// [`CallError`]: `PERMISSION_DENIED`, or no answer.
    pub async fn users(&self) -> Result<Vec<v1::User>, CallError> {
        let request = v1::ListUsersRequest {};
        let called =
            self.access(request, |mut access, request| async move { access.list_users(request).await });
        called.await.map(|response| response.users)
    }

    /// Creates a role, or replaces what it permits.
    ///
    /// # Errors
    /// [`CallError`]: `INVALID_ARGUMENT`, `LIMIT_REACHED`, `PERMISSION_DENIED`, or no answer.
    pub async fn put_role(&self, name: &str, grants: Vec<v1::Grant>) -> Result<(), CallError> {
        let request = v1::PutRoleRequest { role: Some(v1::UserRole { name: name.to_owned(), grants }) };
        let called =
            self.access(request, |mut access, request| async move { access.put_role(request).await });
        called.await.map(drop)
    }

    /// Deletes a role that no user has.
    ///
    /// # Errors
    /// [`CallError`]: `ROLE_NOT_FOUND`, `ROLE_IN_USE`, `PERMISSION_DENIED`, or no answer.
    pub async fn delete_role(&self, name: &str) -> Result<(), CallError> {
        let request = v1::DeleteRoleRequest { role: name.to_owned() };
        let called =
            self.access(request, |mut access, request| async move { access.delete_role(request).await });
        called.await.map(drop)
    }

    /// The roles that were created, by name.
    ///
    /// # Errors
    /// [`CallError`]: `PERMISSION_DENIED`, or no answer.
    pub async fn roles(&self) -> Result<Vec<v1::UserRole>, CallError> {
        let request = v1::ListRolesRequest {};
        let called =
            self.access(request, |mut access, request| async move { access.list_roles(request).await });
        called.await.map(|response| response.roles)
    }
}
