//! A backup as a file: what is in which frame, and in which order.
//!
//! ```text
//! file      = "quorate backup\r\n" header namespace* end
//! header    = frame 1: JSON { format, cluster, created_ms, version }
//! namespace = frame 2: JSON { namespace, shards }, then of each shard in order its parts
//! part      = frame 3: a protobuf message quorate.v1.CopyPart: head, rows, entries, rows, end
//! end       = frame 4: JSON { namespaces: [ { namespace, shards: [ { shard, term, index, content_hash } ] } ] }
//! ```
//! Nothing follows the end: what has none was cut short. Fields of the JSON may be added; a change that an older program would
//! read wrongly has another number of the format.

use super::error::FormatError;
use super::frames::{FrameReader, FrameWriter};
use bytes::Bytes;
use prost::Message as _;
use quorate_wire::v1::{self, copy_part::Part};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

const MAGIC: &[u8] = b"quorate backup\r\n";
const FORMAT: u32 = 1;

const HEADER: u8 = 1;
const NAMESPACE: u8 = 2;
const PART: u8 = 3;
const END: u8 = 4;

/// What begins a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Which cluster it is of.
    cluster: String,
    created_ms: u64,
    /// Of the program that wrote it.
    version: String,
}

/// What begins a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heading {
    namespace: String,
    shards: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    namespaces: Vec<CopiedNamespace>,
}

/// A namespace in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedNamespace {
    /// Its name.
    pub namespace: String,
    /// Its shards, in order.
    pub shards: Vec<CopiedShard>,
}

/// A shard in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedShard {
    /// Which one, from 0.
    pub shard: u32,
    /// The entry of its log after which it was so,
    pub term: u64,
    /// by its index.
    pub index: u64,
    /// Hash of what it holds, in hexadecimal: equal where the same is held.
    pub content_hash: String,
}

/// A thing in a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupItem {
    /// A namespace begins.
    Namespace {
        /// Its name.
        namespace: String,
        /// How many shards it has.
        shards: u32,
    },
    /// A part of the namespace's next shard.
    Part(v1::CopyPart),
    /// All of it was read, and is whole.
    End(Vec<CopiedNamespace>),
}

/// Writes a backup. It is one when [`BackupWriter::end`] has returned.
pub struct BackupWriter<W> {
    frames: FrameWriter<W>,
    namespaces: Vec<CopiedNamespace>,
}

impl<W: AsyncWrite + Unpin> BackupWriter<W> {
    /// Begins one of a cluster, at that time.
    ///
    /// # Errors
    /// [`FormatError::Io`].
    pub async fn begin(out: W, cluster: &str, created_ms: u64) -> Result<Self, FormatError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { format: FORMAT, cluster: cluster.to_owned(), created_ms, version };
        let mut writer = Self { frames: FrameWriter::begin(out, MAGIC).await?, namespaces: Vec::new() };
        writer.json(HEADER, &header).await?;
        Ok(writer)
    }

    /// Begins a namespace: its shards follow in order.
    ///
    /// # Errors
    /// [`FormatError::Io`].
    pub async fn namespace(&mut self, namespace: &str, shards: u32) -> Result<(), FormatError> {
        let heading = Heading { namespace: namespace.to_owned(), shards };
        self.namespaces.push(CopiedNamespace { namespace: heading.namespace.clone(), shards: Vec::new() });
        self.json(NAMESPACE, &heading).await
    }

    /// Adds a part of a shard.
    ///
    /// # Errors
    /// [`FormatError::Io`].
    pub async fn part(&mut self, part: &v1::CopyPart) -> Result<(), FormatError> {
        if let Some(namespace) = self.namespaces.last_mut() {
            note(&mut namespace.shards, part);
        }
        self.frames.put(PART, &part.encode_to_vec()).await
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.frames.bytes
    }

    /// Ends it. Answers what is in it, and where it was written to: whoever has to be sure syncs that.
    ///
    /// # Errors
    /// [`FormatError::Io`].
    pub async fn end(mut self) -> Result<(Vec<CopiedNamespace>, W), FormatError> {
        let end = End { namespaces: self.namespaces.clone() };
        self.json(END, &end).await?;
        Ok((end.namespaces, self.frames.flush().await?))
    }

    async fn json(&mut self, kind: u8, value: &impl Serialize) -> Result<(), FormatError> {
        let body = serde_json::to_vec(value).map_err(|error| FormatError::Io(error.into()))?;
        self.frames.put(kind, &body).await
    }
}

/// Notes what a part says of its shard.
fn note(shards: &mut Vec<CopiedShard>, part: &v1::CopyPart) {
    match (&part.part, shards.last_mut()) {
        (Some(Part::Head(head)), _) => {
            let (shard, term, index) = (head.shard, head.term, head.index);
            shards.push(CopiedShard { shard, term, index, content_hash: String::new() });
        }
        (Some(Part::End(end)), Some(shard)) => shard.content_hash = hex(&end.content_hash),
        _ => {}
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a backup. Nothing of it counts before [`BackupItem::End`] came.
pub struct BackupReader<R> {
    frames: FrameReader<R>,
    header: Header,
    namespaces: Vec<CopiedNamespace>,
    /// Shards of the namespace that are still to come, with the one that is being read.
    expected: u32,
    within: bool,
}

impl<R: AsyncRead + Unpin> BackupReader<R> {
    /// Begins.
    ///
    /// # Errors
    /// [`FormatError`] when it is no backup, or one of a newer format.
    pub async fn begin(input: R) -> Result<Self, FormatError> {
        let mut frames = FrameReader::begin(input, MAGIC).await?;
        let (kind, body) = frames.next().await?;
        let header: Option<Header> = json(&body).filter(|_| kind == HEADER);
        let header = header.ok_or_else(|| frames.damaged("it is no header"))?;
        if header.format != FORMAT {
            return Err(FormatError::Version { found: header.format, known: FORMAT });
        }
        Ok(Self { frames, header, namespaces: Vec::new(), expected: 0, within: false })
    }

    /// Which cluster it is of.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.header.cluster
    }

    /// When it was taken, in milliseconds since 1970.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.header.created_ms
    }

    /// What comes next. After the end there is nothing to ask for.
    ///
    /// # Errors
    /// [`FormatError`] when it is cut short or damaged here.
    pub async fn next(&mut self) -> Result<BackupItem, FormatError> {
        let (kind, body) = self.frames.next().await?;
        match kind {
            NAMESPACE if self.expected == 0 => {
                let heading: Heading =
                    json(&body).ok_or_else(|| self.frames.damaged("it names no namespace"))?;
                let Heading { namespace, shards } = heading;
                self.namespaces.push(CopiedNamespace { namespace: namespace.clone(), shards: Vec::new() });
                self.expected = shards;
                Ok(BackupItem::Namespace { namespace, shards })
            }
            PART if self.expected > 0 => self.part(body).map(BackupItem::Part),
            END if self.expected == 0 => {
                let end: End = json(&body).ok_or_else(|| self.frames.damaged("it is no end"))?;
                if end.namespaces != self.namespaces {
                    return Err(self.frames.damaged("the end tells of something else"));
                }
                if !self.frames.is_over().await? {
                    return Err(self.frames.damaged("something follows the end"));
                }
                Ok(BackupItem::End(end.namespaces))
            }
            _ => Err(self.frames.damaged("it does not belong here")),
        }
    }

    fn part(&mut self, body: Bytes) -> Result<v1::CopyPart, FormatError> {
        let part = v1::CopyPart::decode(body).map_err(|_| self.frames.damaged("it is no part of a copy"))?;
        match &part.part {
            Some(Part::Head(_)) if !self.within => self.within = true,
            Some(Part::End(_)) if self.within => {
                self.within = false;
                self.expected -= 1;
            }
            Some(Part::Rows(_) | Part::Entries(_)) if self.within => {}
            _ => return Err(self.frames.damaged("this part of a copy does not belong here")),
        }
        if let Some(namespace) = self.namespaces.last_mut() {
            note(&mut namespace.shards, &part);
        }
        Ok(part)
    }
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "format_fuzz.rs"]
mod fuzz;
