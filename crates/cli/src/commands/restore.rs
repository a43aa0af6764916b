//! `quorate restore`

use super::backup::{restored_document, shard_lines};
use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::input;
use crate::output::Output;
use clap::Args;
use quorate_client::{BackupReader, FormatError, RestoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXAMPLES: &str = "\
A namespace of that name must not be there, or be empty. It is closed (NAMESPACE_RESTORING) until all of it is there, and what
each shard holds then is compared with what was copied. When anything fails nothing is left of it.

Examples:
  quorate restore --file shop.backup
  quorate restore shop --file everything.backup               only this namespace
  quorate restore shop=shop-of-monday --file shop.backup      under another name
  zstd -d < everything.backup.zst | quorate restore";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The namespaces, NAME or NAME=NEW-NAME [default: all that are in the backup].
    #[arg(value_name = "NAME[=NEW]", value_parser = renamed)]
    namespaces: Vec<(String, String)>,
    /// The backup; `-` is standard input.
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let (name, new) = text.split_once('=').unwrap_or((text, text));
    if name.is_empty() || new.is_empty() {
        return Err(format!("{text:?} is not NAME or NAME=NEW"));
    }
    Ok((name.to_owned(), new.to_owned()))
}

pub(crate) async fn run(args: RestoreArgs, output: Output) -> Result<(), Failure> {
    let input = input::open(&args.file).await?;
    let names: BTreeMap<String, String> = args.namespaces.iter().cloned().collect();
    let client = connect(&args.client).await?;
    let mut backup = BackupReader::begin(input).await.map_err(RestoreError::from)?;
    let spinner = output.spinner("restoring");
    let progress = |parts: u64| spinner.set_message(format!("{parts} parts are there"));
    let restored = client.restore(&mut backup, &names, progress).await?;
    spinner.finish_and_clear();
    let lines = restored.iter().flat_map(|r| shard_lines(&r.namespace, &r.copied));
    let text = std::iter::once("restored".to_owned()).chain(lines).collect::<Vec<_>>().join("\n");
    let namespaces: Vec<Value> =
        restored.iter().map(|r| restored_document(&r.namespace, &r.copied)).collect();
    let document = json!({
        "cluster": backup.cluster(),
        "created_ms": backup.created_ms(),
        "namespaces": namespaces,
    });
    output.result(text, &document)
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Call(error) => error.into(),
            RestoreError::Format(FormatError::Io(source)) => {
                Self::Input { path: PathBuf::from("the backup"), source }
            }
            RestoreError::Format(error) => Self::Backup(error),
            RestoreError::Missing(_) => Self::Usage(error.to_string()),
            RestoreError::Differs { .. } => Self::Differs(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn a_namespace_keeps_its_name_or_gets_another() {
        let names = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(renamed("shop"), names("shop", "shop"));
        assert_eq!(renamed("shop=new"), names("shop", "new"));
        assert!(renamed("shop=").is_err() && renamed("=new").is_err() && renamed("").is_err());
    }
}
