//! `quorate backup`

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use quorate_client::{BackupError, BackupWriter, Client, CopiedNamespace, FormatError};
use quorate_node::SystemClock;
use quorate_types::Clock;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncWrite, BufWriter};

const EXAMPLES: &str = "\
A backup holds everything of a namespace: topics with what they keep, subscriptions with what is unsettled and all their
counters, bindings, marks, producers and message ids. What consumers hold is ready in it, and is delivered again to whoever
goes on from it. Each shard is copied as it is at one moment, while publishing and consuming go on.

Examples:
  quorate backup --file shop.backup --namespace shop
  quorate backup shop clicks --file both.backup
  quorate backup --all --file everything.backup
  quorate backup --all | zstd > everything.backup.zst

The content hash of each shard is printed: `quorate restore` prints the same, computed by the shard that was restored.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BackupArgs {
    /// The namespaces [default: the one of --namespace].
    namespaces: Vec<String>,
    /// All namespaces.
    #[arg(long, conflicts_with = "namespaces")]
    all: bool,
    /// Where to; `-` is standard output. A file appears when all of it is on the disk.
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn run(args: BackupArgs, output: Output) -> Result<(), Failure> {
    if args.file == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "a backup is no text: give --file PATH, or send it elsewhere".to_owned(),
            ));
        }
        let (namespaces, _) = take(&args, tokio::io::stdout(), output).await?;
        output.note(text(&namespaces, "standard output"));
        return Ok(());
    }
    let part = partial(&args.file);
    let unusable = |source| Failure::Directory { path: part.clone(), source };
    let file = File::create(&part).await.map_err(unusable)?;
    match written(&args, file, output).await {
        Ok(namespaces) => {
            tokio::fs::rename(&part, &args.file).await.map_err(unusable)?;
            let name = args.file.display().to_string();
            output.result(text(&namespaces, &name), &json!({ "file": name, "namespaces": namespaces }))
        }
        Err(failure) => {
            // It is of no use; that it could not be deleted is of less.
            drop(tokio::fs::remove_file(&part).await);
            Err(failure)
        }
    }
}

async fn written(args: &BackupArgs, file: File, output: Output) -> Result<Vec<CopiedNamespace>, Failure> {
    let (namespaces, file) = take(args, BufWriter::new(file), output).await?;
    file.into_inner().sync_all().await.map_err(Failure::Output)?;
    Ok(namespaces)
}

async fn take<W: AsyncWrite + Unpin>(
    args: &BackupArgs,
    out: W,
    output: Output,
) -> Result<(Vec<CopiedNamespace>, W), Failure> {
    let client = connect(&args.client).await?;
    let cluster = client.status().await?.cluster_id;
    let now = SystemClock.now().get();
    let mut backup = BackupWriter::begin(out, &cluster, now).await.map_err(BackupError::from)?;
    let spinner = output.spinner("copying");
    for namespace in wanted(args, &client).await? {
        let progress = |bytes: u64| spinner.set_message(format!("{namespace}: {} KiB", bytes >> 10));
        client.back_up(&namespace, &mut backup, progress).await?;
    }
    spinner.finish_and_clear();
    Ok(backup.end().await.map_err(BackupError::from)?)
}

async fn wanted(args: &BackupArgs, client: &Client) -> Result<Vec<String>, Failure> {
    if args.all {
        let all = client.namespaces().await?;
        return Ok(all.into_iter().filter(|n| !n.restoring).map(|n| n.name).collect());
    }
    let mut wanted = args.namespaces.clone();
    if wanted.is_empty() {
        wanted.push(args.client.namespace.clone());
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn text(namespaces: &[CopiedNamespace], to: &str) -> String {
    let lines = namespaces.iter().flat_map(|namespace| shard_lines(&namespace.namespace, namespace));
    std::iter::once(format!("backed up to {to}")).chain(lines).collect::<Vec<_>>().join("\n")
}

/// A line for each shard of a namespace, which is called so.
pub(super) fn shard_lines<'a>(
    name: &'a str,
    copied: &'a CopiedNamespace,
) -> impl Iterator<Item = String> + 'a {
    let line = move |shard: &quorate_client::CopiedShard| {
        format!("{name} shard {}: entry {}, content {}", shard.shard, shard.index, shard.content_hash)
    };
    copied.shards.iter().map(line)
}

/// A namespace that was restored, for scripts.
pub(super) fn restored_document(name: &str, copied: &CopiedNamespace) -> Value {
    json!({ "namespace": name, "of": copied.namespace, "shards": copied.shards })
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Call(error) => error.into(),
            BackupError::BrokeOff { .. } => Self::BrokeOff(error.to_string()),
            BackupError::Format(FormatError::Io(error)) => Self::Output(error),
            BackupError::Format(error) => Self::Backup(error),
        }
    }
}
