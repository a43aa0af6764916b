//! Threads that do blocking calls, one queue each. The only threads of this crate besides the store's.

use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// A queue of jobs and the threads that take them in order. Dropping it lets the threads finish what is queued
/// and end.
pub(super) struct Lane {
    shared: Arc<(Mutex<Queue>, Condvar)>,
}

impl Lane {
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let lane = Self { shared: Arc::default() };
        for _ in 0..threads {
            let shared = Arc::clone(&lane.shared);
            // The calls below are shallow; 256 KiB leaves room for a debug build.
            std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(256 << 10)
                .spawn(move || run(&shared))?;
        }
        Ok(lane)
    }

    /// Queues `call` and returns a future of its result. The call happens even if the future is dropped.
    pub(super) fn call<T, F>(&self, call: F) -> BoxFuture<'static, io::Result<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more; the call was made all the same.
            let _ = answer.send(call());
        });
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).jobs.push_back(job);
        self.shared.1.notify_one();
        Box::pin(
            async move { wait.await.unwrap_or_else(|_| Err(io::Error::other("the disk's thread ended"))) },
        )
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.1.notify_all();
    }
}

fn run(shared: &(Mutex<Queue>, Condvar)) {
    let (queue, wake) = shared;
    loop {
        let mut guard = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let job = loop {
            if let Some(job) = guard.jobs.pop_front() {
                break job;
            }
            if guard.closed {
                return;
            }
            guard = wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        drop(guard);
        job();
    }
}
