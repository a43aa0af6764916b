//! Frames, one after the other, each with a checksum over itself and the one before.
//!
//! ```text
//! frame = [bytes u32: of the body][kind u8][body][crc u32: CRC-32C of the crc before, bytes, kind and body]
//! ```
//! All numbers are little-endian; the crc before the first frame is 0. A frame that is missing, repeated or moved is noticed as one
//! that is damaged.

use super::error::FormatError;
use bytes::Bytes;
use std::io::ErrorKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest body: a part of a copy is at most what one message may be.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;
const HEAD_BYTES: usize = 5;

fn checksum(before: u32, head: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&before.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, head), body)
}

/// Writes frames.
pub(super) struct FrameWriter<W> {
    out: W,
    crc: u32,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) async fn begin(mut out: W, magic: &[u8]) -> Result<Self, FormatError> {
        out.write_all(magic).await?;
        Ok(Self { out, crc: 0, frames: 0, bytes: magic.len() as u64 })
    }

    pub(super) async fn put(&mut self, kind: u8, body: &[u8]) -> Result<(), FormatError> {
        let too_large = || FormatError::Damaged { frame: self.frames, what: "it is too large to be written" };
        let len =
            u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_BYTES_MAX).ok_or_else(too_large)?;
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4] = kind;
        self.crc = checksum(self.crc, &head, body);
        self.out.write_all(&head).await?;
        self.out.write_all(body).await?;
        self.out.write_all(&self.crc.to_le_bytes()).await?;
        self.frames += 1;
        self.bytes += (HEAD_BYTES + body.len() + 4) as u64;
        Ok(())
    }

    pub(super) async fn flush(mut self) -> Result<W, FormatError> {
        self.out.flush().await?;
        Ok(self.out)
    }
}

/// Reads frames.
pub(super) struct FrameReader<R> {
    input: R,
    crc: u32,
    pub(super) frames: u64,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) async fn begin(mut input: R, magic: &[u8]) -> Result<Self, FormatError> {
        let mut found = vec![0; magic.len()];
        match input.read_exact(&mut found).await {
            Ok(_) if found == magic => Ok(Self { input, crc: 0, frames: 0 }),
            Ok(_) => Err(FormatError::NotABackup),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(FormatError::NotABackup),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame: its kind and its body.
    pub(super) async fn next(&mut self) -> Result<(u8, Bytes), FormatError> {
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head).await?;
        let [l0, l1, l2, l3, kind] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > BODY_BYTES_MAX {
            return Err(self.damaged("it says that it is too large"));
        }
        let mut body = vec![0; len];
        self.fill(&mut body).await?;
        let mut crc = [0; 4];
        self.fill(&mut crc).await?;
        self.crc = checksum(self.crc, &head, &body);
        if self.crc.to_le_bytes() != crc {
            return Err(self.damaged("its checksum is another one"));
        }
        self.frames += 1;
        Ok((kind, body.into()))
    }

    /// Whether nothing more comes.
    pub(super) async fn is_over(&mut self) -> Result<bool, FormatError> {
        Ok(self.input.read(&mut [0; 1]).await? == 0)
    }

    pub(super) fn damaged(&self, what: &'static str) -> FormatError {
        FormatError::Damaged { frame: self.frames, what }
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FormatError> {
        match self.input.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(FormatError::Truncated { frames: self.frames })
            }
            Err(error) => Err(error.into()),
        }
    }
}
