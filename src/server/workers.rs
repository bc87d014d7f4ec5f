//! The threads that serve connections.
//!
//! Each has a runtime of its own: a connection stays where it is, and an event wakes one thread, the one that handles it.
//! tokio's multi-threaded scheduler wakes a second one for each, to look for work to steal.

use std::{
    future, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::runtime::{Builder, Handle};

/// The threads that serve connections. They end with the process.
#[derive(Clone, Debug)]
pub struct Workers(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// Counts a connection on a thread until it is dropped.
#[derive(Debug)]
pub(super) struct Assigned(Arc<AtomicUsize>);

impl Workers {
    /// Starts so many threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn(move || runtime.block_on(future::pending::<()>()))?;
            Ok(Worker { runtime: handle, connections: Arc::default() })
        };
        (1..=threads).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// The thread with the fewest connections, which gets one more.
    pub(super) fn assign(&self) -> Option<(&Handle, Assigned)> {
        let worker = self.0.iter().min_by_key(|worker| worker.connections.load(Relaxed))?;
        worker.connections.fetch_add(1, Relaxed);
        Some((&worker.runtime, Assigned(Arc::clone(&worker.connections))))
    }
}

impl Assigned {
    /// Counts for as long as this runs.
    pub(super) async fn run(self, connection: impl Future<Output = ()>) {
        connection.await;
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_the_thread_with_the_fewest() {
        let workers = Workers::start(2).unwrap();
        let counts = || workers.0.iter().map(|worker| worker.connections.load(Relaxed)).collect::<Vec<_>>();
        let (first, _second) = (workers.assign().unwrap().1, workers.assign().unwrap().1);
        let _third = workers.assign().unwrap().1;
        assert_eq!(counts(), [2, 1]);
        drop(first);
        let _fourth = (workers.assign().unwrap().1, workers.assign().unwrap().1);
        assert_eq!(counts(), [2, 2]);
    }
}
