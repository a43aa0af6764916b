//! What is made of files, and made anew when they change.

use super::TlsError;
use super::files::{Contents, read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

/// The files are looked at so often. They are small, and a new certificate is put there long before the old one ends.
const LOOK_EVERY: Duration = Duration::from_secs(2);

type Make<T> = Box<dyn Fn(&Contents) -> Result<Made<T>, TlsError> + Send + Sync>;

/// What was made, and when the certificate in it is over.
pub(super) struct Made<T> {
    pub(super) value: Arc<T>,
    /// In seconds since 1970.
    pub(super) expiry: Option<i64>,
}

/// Always the newest that works: files that are half written, or do not belong together, change nothing.
pub(super) struct Reloaded<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    made: RwLock<Made<T>>,
    /// What was looked at last, good or bad, so that what is bad is told once.
    seen: Mutex<Contents>,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(&Contents) -> Result<Made<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let contents = read(&paths)?;
        let made = make(&contents)?;
        Ok(Self { paths, make: Box::new(make), made: RwLock::new(made), seen: Mutex::new(contents) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.made.read().unwrap_or_else(PoisonError::into_inner).value)
    }

    pub(super) fn expiry(&self) -> Option<i64> {
        self.made.read().unwrap_or_else(PoisonError::into_inner).expiry
    }

    /// Looks once whether the files are others by now.
    fn look(&self) {
        let contents = match read(&self.paths) {
            Ok(contents) => contents,
            // Often a file that is just being replaced; if not, the old certificate serves until it ends.
            Err(error) => return tracing::warn!(%error, "certificates were not looked at"),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return;
        }
        let made = (self.make)(&contents);
        *seen = contents;
        match made {
            Ok(made) => {
                tracing::info!(paths = ?self.paths, expiry = made.expiry, "new certificates count from here on");
                *self.made.write().unwrap_or_else(PoisonError::into_inner) = made;
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificates cannot be used: the former ones stay");
            }
        }
    }

    /// Looks now and then, as long as somebody holds it.
    pub(super) fn follow(self: &Arc<Self>) {
        tokio::spawn(follow(Arc::downgrade(self)));
    }
}

async fn follow<T: Send + Sync + 'static>(of: Weak<Reloaded<T>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(reloaded) = of.upgrade() else { return };
        // Files on a network may hang: not on a thread that connections need.
        if tokio::task::spawn_blocking(move || reloaded.look()).await.is_err() {
            return;
        }
    }
}
