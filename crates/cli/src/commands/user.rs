//! `quorate user …`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use crate::secrets;
use clap::{Args, Subcommand};
use quorate_client::v1;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Passwords are asked for on the terminal, or come from a file or from standard input: never from an argument.

Examples:
  quorate user add ann --role clerk --user admin --password-file admin.txt --ca ca.crt
  quorate user add robot --role clerk --new-password-file robot.txt
  quorate user add shop.example.com --role clerk --no-password      comes with a certificate or a token
  quorate user password ann
  quorate user roles ann clerk reader
  quorate user list
  quorate user whoami";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Args, Debug)]
struct NewPassword {
    /// Read the new password from this file [default: ask on the terminal, or take a line of standard input].
    #[arg(long, value_name = "PATH")]
    new_password_file: Option<PathBuf>,
    /// No password: the user comes with a token or a certificate.
    #[arg(long, conflicts_with = "new_password_file")]
    no_password: bool,
}

impl NewPassword {
    fn read(&self, user: &str) -> Result<Option<String>, Failure> {
        if self.no_password {
            return Ok(None);
        }
        secrets::new_password(user, self.new_password_file.as_deref()).map(Some)
    }
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user.
    Add {
        /// Its name.
        name: String,
        /// A role that it has; may be given several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        #[command(flatten)]
        password: NewPassword,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change a user's password, or take it away.
    Password {
        /// Its name.
        name: String,
        #[command(flatten)]
        password: NewPassword,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a user these roles, and no others.
    Roles {
        /// Its name.
        name: String,
        /// The roles; none: it may do nothing.
        roles: Vec<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the users.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a user.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show who the nodes take you for.
    Whoami {
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: UserArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        UserCommand::Add { name, roles, password, client } => {
            let password = password.read(&name)?;
            connect(&client).await?.create_user(&name, password.as_deref(), &roles).await?;
            output.result(format!("user {name} is created"), &json!({ "user": name, "roles": roles }))
        }
        UserCommand::Password { name, password, client } => {
            let password = password.read(&name)?;
            connect(&client).await?.change_password(&name, password.as_deref()).await?;
            output.result(format!("the password of user {name} is changed"), &json!({ "user": name }))
        }
        UserCommand::Roles { name, roles, client } => {
            connect(&client).await?.set_roles(&name, &roles).await?;
            let text = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
            output.result(format!("roles of user {name}: {text}"), &json!({ "user": name, "roles": roles }))
        }
        UserCommand::List { client } => {
            let users = connect(&client).await?.users().await?;
            let row = |u: &v1::User| {
                let password = if u.has_password { "yes" } else { "no" };
                vec![u.name.clone(), u.roles.join(", "), password.to_owned()]
            };
            let documents: Vec<Value> = users.iter().map(document).collect();
            output.table(&["USER", "ROLES", "PASSWORD"], users.iter().map(row).collect(), &documents)
        }
        UserCommand::Delete { name, client } => {
            connect(&client).await?.delete_user(&name).await?;
            output.result(format!("user {name} is deleted"), &json!({ "user": name }))
        }
        UserCommand::Whoami { client } => {
            let v1::WhoAmIResponse { user, roles } = connect(&client).await?.who_am_i().await?;
            let text = match user.as_str() {
                "" => "nobody needs to say who they are here: everything is permitted".to_owned(),
                user => format!("{user}, with the roles: {}", roles.join(", ")),
            };
            output.result(text, &json!({ "user": user, "roles": roles }))
        }
    }
}

fn document(user: &v1::User) -> Value {
    json!({ "user": user.name, "roles": user.roles, "has_password": user.has_password })
}
