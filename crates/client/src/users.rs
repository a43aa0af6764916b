//! Users and roles.

use crate::channel::Channel;
use crate::client::Client;
use crate::error::CallError;
use quorate_wire::v1::access_client::AccessClient;
use quorate_wire::{CLIENT_BYTES_MAX, v1};

fn client_of(channel: Channel) -> AccessClient<Channel> {
    AccessClient::new(channel).max_decoding_message_size(CLIENT_BYTES_MAX)
}

impl Client {
    /// Who the nodes take this client for.
    ///
    /// # Errors
    /// [`CallError`]: `UNAUTHENTICATED`, or no answer.
    pub async fn who_am_i(&self) -> Result<v1::WhoAmIResponse, CallError> {
        let request = v1::WhoAmIRequest {};
        self.call(request, |channel, request| async move { client_of(channel).who_am_i(request).await })
            .await
            .result
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
        let called = self
            .call(request, |channel, request| async move { client_of(channel).create_user(request).await });
        called.await.result.map(drop)
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
        let called = self
            .call(request, |channel, request| async move { client_of(channel).change_user(request).await });
        called.await.result.map(drop)
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`CallError`]: `USER_NOT_FOUND`, `PERMISSION_DENIED`, or no answer.
    pub async fn delete_user(&self, user: &str) -> Result<(), CallError> {
        let request = v1::DeleteUserRequest { user: user.to_owned() };
        let called = self
            .call(request, |channel, request| async move { client_of(channel).delete_user(request).await });
        called.await.result.map(drop)
    }

    /// The users, by name.
    ///
    /// # Errors
    /// [`CallError`]: `PERMISSION_DENIED`, or no answer.
    pub async fn users(&self) -> Result<Vec<v1::User>, CallError> {
        let request = v1::ListUsersRequest {};
        let called = self
            .call(request, |channel, request| async move { client_of(channel).list_users(request).await });
        called.await.result.map(|response| response.users)
    }

    /// Creates a role, or replaces what it permits.
    ///
    /// # Errors
    /// [`CallError`]: `INVALID_ARGUMENT`, `LIMIT_REACHED`, `PERMISSION_DENIED`, or no answer.
    pub async fn put_role(&self, name: &str, grants: Vec<v1::Grant>) -> Result<(), CallError> {
        let request = v1::PutRoleRequest { role: Some(v1::UserRole { name: name.to_owned(), grants }) };
        let called =
            self.call(request, |channel, request| async move { client_of(channel).put_role(request).await });
        called.await.result.map(drop)
    }

    /// Deletes a role that no user has.
    ///
    /// # Errors
    /// [`CallError`]: `ROLE_NOT_FOUND`, `ROLE_IN_USE`, `PERMISSION_DENIED`, or no answer.
    pub async fn delete_role(&self, name: &str) -> Result<(), CallError> {
        let request = v1::DeleteRoleRequest { role: name.to_owned() };
        let called = self
            .call(request, |channel, request| async move { client_of(channel).delete_role(request).await });
        called.await.result.map(drop)
    }

    /// The roles that were created, by name.
    ///
    /// # Errors
    /// [`CallError`]: `PERMISSION_DENIED`, or no answer.
    pub async fn roles(&self) -> Result<Vec<v1::UserRole>, CallError> {
        let request = v1::ListRolesRequest {};
        let called = self
            .call(request, |channel, request| async move { client_of(channel).list_roles(request).await });
        called.await.result.map(|response| response.roles)
    }
}
