//! Writes the log on a thread of its own, so that a container runtime that has stopped reading does not block the watch or
//! a request.
//!
//! `tracing-appender` does the same, but may hang at the end if the other side of standard output does not read.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use prometheus::IntCounter;

/// How many lines wait to be written. At `debug` that is a moment's worth under load; at `info`, days.
const WAITING: usize = 4096;

/// How long the end waits for lines to be written, and how often it looks for room among those that wait.
const LAST: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Mark(Sender<()>),
}

/// Takes lines without waiting. Lines are dropped and counted while the queue is full.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    dropped: IntCounter,
}

impl Lines {
    /// Starts to write lines.
    pub(super) fn start(out: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let (queue, messages) = sync_channel(WAITING);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &messages))?;
        Ok(Self { queue, dropped })
    }

    /// Waits until what was said so far is written, if somebody reads it.
    pub(super) fn finish(&self) {
        let begun = Instant::now();
        let (written, all_written) = channel();
        while let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Mark(written.clone())) {
            if begun.elapsed() > LAST {
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
        all_written.recv_timeout(LAST).ok();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut out: impl Write, messages: &Receiver<Message>) {
    for message in messages {
        match message {
            // Where would it be said that nothing can be said?
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Mark(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes nothing while it is locked.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_by_the_end_or_dropped_and_counted() {
        let reader = Reader::default();
        let dropped = IntCounter::new("dropped", "x").unwrap();
        let mut lines = Lines::start(reader.clone(), dropped.clone()).unwrap();
        lines.write_all(b"first\n").unwrap();
        lines.finish();
        assert_eq!(*reader.0.lock().unwrap(), b"first\n");

        let held = reader.0.lock().unwrap();
        for _ in 0..2 * WAITING {
            lines.write_all(b"more\n").unwrap();
        }
        // One may be in the writer's hands.
        assert!((WAITING - 1..=WAITING).contains(&(dropped.get() as usize)), "{}", dropped.get());
        lines.finish();
        drop(held);
        lines.finish();
        let written = reader.0.lock().unwrap().len();
        assert_eq!(written, 6 + 5 * (2 * WAITING - dropped.get() as usize));
    }
}
