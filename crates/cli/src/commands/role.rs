//! `quorate role …`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use quorate_client::{Reason, Refusal, v1};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
A grant is PERMISSIONS@NAMESPACE:NAMES. Permissions are publish, consume, configure and administer, with commas between them. The
namespace * is all of them. Names of topics and subscriptions are taken as words between dots: * is one word, # any number of
them. NAMESPACE: may be left out (default), and so may :NAMES (all of them).

Examples:
  quorate role put clerk publish,consume@shop:orders.#
  quorate role put ops configure,consume@shop administer@*
  quorate role put reader consume
  quorate role list
  quorate role show clerk
  quorate role delete clerk";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RoleArgs {
    #[command(subcommand)]
    command: RoleCommand,
}

#[derive(Debug, Subcommand)]
enum RoleCommand {
    /// Create a role, or replace what it permits: for what is open, too.
    Put {
        /// Its name.
        name: String,
        /// What it permits.
        #[arg(value_name = "GRANT", value_parser = parse_grant)]
        grants: Vec<v1::Grant>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the roles. admin, which permits everything, is always there and not among them.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what a role permits.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a role that no user has.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: RoleArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        RoleCommand::Put { name, grants, client } => {
            connect(&client).await?.put_role(&name, grants.clone()).await?;
            let role = v1::UserRole { name, grants };
            output.result(format!("role {} is there", role.name), &document(&role))
        }
        RoleCommand::List { client } => {
            let roles = connect(&client).await?.roles().await?;
            let row = |role: &v1::UserRole| vec![role.name.clone(), texts(role).join(" ")];
            let documents: Vec<Value> = roles.iter().map(document).collect();
            output.table(&["ROLE", "GRANTS"], roles.iter().map(row).collect(), &documents)
        }
        RoleCommand::Show { name, client } => {
            let roles = connect(&client).await?.roles().await?;
            let role = roles.into_iter().find(|role| role.name == name).ok_or_else(|| {
                Failure::Refused(Refusal::new(Reason::RoleNotFound, format!("there is no role {name}")))
            })?;
            output.result(texts(&role).join("\n"), &document(&role))
        }
        RoleCommand::Delete { name, client } => {
            connect(&client).await?.delete_role(&name).await?;
            output.result(format!("role {name} is deleted"), &json!({ "role": name }))
        }
    }
}

fn parse_grant(text: &str) -> Result<v1::Grant, String> {
    let (permissions, place) = text.split_once('@').unwrap_or((text, ""));
    let (namespace, names) = place.split_once(':').unwrap_or((place, ""));
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let permissions: Vec<String> = permissions.split(',').map(str::to_owned).collect();
    if permissions.iter().any(String::is_empty) {
        return Err("a grant is PERMISSIONS@NAMESPACE:NAMES, as in publish,consume@shop:orders.#".to_owned());
    }
    Ok(v1::Grant { permissions, namespace: or(namespace, "default"), names: or(names, "#") })
}

fn texts(role: &v1::UserRole) -> Vec<String> {
    role.grants.iter().map(|g| format!("{}@{}:{}", g.permissions.join(","), g.namespace, g.names)).collect()
}

fn document(role: &v1::UserRole) -> Value {
    let grant =
        |g: &v1::Grant| json!({ "permissions": g.permissions, "namespace": g.namespace, "names": g.names });
    json!({ "role": role.name, "grants": role.grants.iter().map(grant).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_and_written() {
        let role = |text| v1::UserRole { name: "r".to_owned(), grants: vec![parse_grant(text).unwrap()] };
        for (given, whole) in [
            ("consume", "consume@default:#"),
            ("publish,consume@shop:orders.#", "publish,consume@shop:orders.#"),
            ("administer@*", "administer@*:#"),
            ("publish@:a.*", "publish@default:a.*"),
        ] {
            assert_eq!(texts(&role(given)), [whole]);
        }
        for bad in ["", "@shop", "publish,@shop"] {
            assert!(parse_grant(bad).is_err(), "{bad}");
        }
    }
}
