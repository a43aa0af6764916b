//! What is read: a file, or standard input.

use crate::failure::Failure;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncRead, BufReader, stdin};

/// Opens a file; `-` is standard input.
///
/// # Errors
/// [`Failure::Input`] names the file that cannot be read.
pub(crate) async fn open(path: &Path) -> Result<BufReader<Box<dyn AsyncRead + Send + Unpin>>, Failure> {
    if is_standard(path) {
        return Ok(BufReader::new(Box::new(stdin())));
    }
    let unreadable = |source| Failure::Input { path: path.to_owned(), source };
    Ok(BufReader::new(Box::new(File::open(path).await.map_err(unreadable)?)))
}

/// Whether standard input is meant.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}
