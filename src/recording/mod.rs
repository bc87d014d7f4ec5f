//! Answered requests, written to be replayed.
//!
//! ```text
//! body ─ Recorder::copy ─▶ Copied ─ answered ─▶ queue ─ a thread of its own ─▶ redact ─▶ folder
//! ```
//!
//! A request never waits for this: a request that the queue has no room for is not recorded, and a failure that ends the
//! recording ends nothing else. The queue is bounded in bytes, and only requests for pods enter it.

mod folder;
mod redact;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{debug, info, warn};

use self::folder::Writer;
use crate::{
    admission::{self, Operation, Outcome},
    metrics::RecordingMetrics,
};

pub use self::{
    folder::{BadFolder, Folder},
    redact::redact,
};

/// How many requests may wait to be written: a burst.
const QUEUE: usize = 32;

/// How many bytes they may take together, with what it takes to redact them.
const QUEUE_BYTES: usize = 16 << 20;

/// A value takes twice as much to be redacted as to be parsed: serde_json's is larger than the parser's.
const REDACTION: usize = 2;

/// How long the end of the process may wait for them.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes requests that were answered.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Entry>,
    /// How many bytes are in use.
    bytes: Arc<AtomicUsize>,
    metrics: RecordingMetrics,
}

/// The thread that writes them.
#[derive(Debug)]
pub struct Recording {
    queue: mpsc::Sender<Entry>,
    /// Its other half goes with the thread.
    ended: oneshot::Receiver<Infallible>,
}

/// An entry of the queue; `None` is the end.
type Entry = Option<Recorded>;

/// The copy of a body that is yet to be answered.
#[derive(Debug)]
pub struct Copied<'a> {
    recorder: &'a Recorder,
    body: Vec<u8>,
    share: Share,
}

#[derive(Debug)]
struct Recorded {
    body: Vec<u8>,
    operation: Operation,
    outcome: Outcome,
    _share: Share,
}

/// A part of [`QUEUE_BYTES`], given back when it is dropped.
#[derive(Debug)]
struct Share {
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl Share {
    fn take(bytes: usize, used: &Arc<AtomicUsize>) -> Option<Self> {
        let within = |used: usize| used.checked_add(bytes).filter(|&all| all <= QUEUE_BYTES);
        used.fetch_update(Relaxed, Relaxed, within).ok()?;
        Some(Self { bytes, used: Arc::clone(used) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Relaxed);
    }
}

impl Recorder {
    /// Begins to write to a folder.
    pub fn start(folder: Folder, metrics: RecordingMetrics) -> Result<(Self, Recording), BadFolder> {
        let writer = folder.open()?;
        metrics.active.set(1);
        let (recorder, entries) = Self::new(metrics.clone());
        let (ends, ended) = oneshot::channel();
        thread::spawn(move || {
            let _ends = ends;
            record(writer, entries, &metrics);
            metrics.active.set(0);
        });
        let queue = recorder.queue.clone();
        Ok((recorder, Recording { queue, ended }))
    }

    fn new(metrics: RecordingMetrics) -> (Self, mpsc::Receiver<Entry>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Self { queue, bytes: Arc::default(), metrics }, entries)
    }

    /// Copies a body before it is parsed, which spends it; `None` where it would not be recorded anyway.
    pub fn copy(&self, body: &[u8]) -> Option<Copied<'_>> {
        if self.queue.is_closed() {
            return None;
        }
        // Beside the body there are its values and the text that is written.
        let bytes = 2 * body.len() + REDACTION * admission::memory_to_parse(body);
        let share = if self.queue.capacity() > 0 { Share::take(bytes, &self.bytes) } else { None };
        if share.is_none() {
            self.metrics.dropped.inc();
        }
        Some(Copied { recorder: self, body: body.into(), share: share? })
    }
}

impl Copied<'_> {
    /// Hands it over to be written, if there is still room for it.
    pub fn answered(self, operation: Operation, outcome: Outcome) {
        let Recorder { queue, metrics, .. } = self.recorder;
        let recorded = Recorded { body: self.body, operation, outcome, _share: self.share };
        if queue.try_send(Some(recorded)).is_err() {
            metrics.dropped.inc();
        }
    }
}

impl Recording {
    /// Waits until what is queued has been written, though not for long: a disk may hang.
    pub async fn finish(self) {
        let finish = async {
            self.queue.send(None).await.ok();
            self.ended.await.ok();
        };
        if timeout(FINISH_TIMEOUT, finish).await.is_err() {
            warn!("the last recordings are not written yet; ending anyway");
        }
    }
}

/// Writes what is queued, until the end comes, a bound is reached or a write fails.
fn record(mut folder: Writer, mut entries: mpsc::Receiver<Entry>, metrics: &RecordingMetrics) {
    while folder.has_room_for(1) {
        let Some(recorded) = entries.blocking_recv().flatten() else { return };
        let text = match redact(&recorded.body) {
            Ok(text) => text,
            // A body that can't be read can't be redacted either.
            Err(error) => {
                metrics.dropped.inc();
                debug!(%error, "not recorded");
                continue;
            }
        };
        if !folder.has_room_for(text.len()) {
            break;
        }
        if let Err(error) = folder.write(recorded.operation, recorded.outcome, &text) {
            metrics.failed.inc();
            warn!(%error, "can't write to --record; nothing more is recorded");
            return;
        }
        metrics.written.inc();
    }
    info!("--record-max-files or --record-max-bytes is reached; nothing more is recorded");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn requests_that_the_queue_has_no_room_for_are_neither_copied_nor_waited_for() {
        let (recorder, mut entries) = Recorder::new(Metrics::new().recordings);
        let answer = |copied: Copied<'_>| copied.answered(Operation::Create, Outcome::Injected);
        let late = recorder.copy(b"late").unwrap();
        (0..QUEUE).for_each(|_| answer(recorder.copy(b"{}").unwrap()));
        assert!(recorder.copy(b"{}").is_none());
        answer(late);
        for _ in 0..QUEUE {
            assert_eq!(entries.try_recv().unwrap().unwrap().body, b"{}");
        }
        assert!(entries.try_recv().is_err() && recorder.copy(b"{}").is_some());
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        let (recorder, mut entries) = Recorder::new(Metrics::new().recordings);
        let large = vec![b' '; QUEUE_BYTES / 4];
        recorder.copy(&large).unwrap().answered(Operation::Create, Outcome::Injected);
        let second = recorder.copy(&large).unwrap();
        assert!(recorder.copy(b"{}").is_none());
        // Many small values take more to be redacted than the body has bytes.
        drop(second);
        assert!(recorder.copy(&b"0,".repeat(QUEUE_BYTES / 64)).is_none());
        assert!(recorder.copy(&large).is_some());
        drop(entries.try_recv().unwrap());
        assert_eq!(recorder.bytes.load(Relaxed), 0);
    }

    #[test]
    fn nothing_is_copied_once_recording_has_ended() {
        let (recorder, entries) = Recorder::new(Metrics::new().recordings);
        let late = recorder.copy(b"{}").unwrap();
        drop(entries);
        late.answered(Operation::Create, Outcome::Injected);
        assert!(recorder.copy(b"{}").is_none());
    }
}
