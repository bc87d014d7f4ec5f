//! A process under measurement: started, asked for its CPU time and its memory, ended.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A child that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// The text after the awaited words, on the line that says that it is ready.
    pub(crate) ready: String,
}

impl Process {
    /// Starts a command and waits for a line of its standard error that holds `ready`.
    pub(crate) fn start(command: &mut Command, ready: &str) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(ready));
        let line = line.unwrap_or_else(|| panic!("{command:?} ended before it was ready"));
        let (_, ready) = line.split_once(ready).unwrap();
        let ready = ready.to_owned();
        // Somebody has to read on, or the child would wait for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, ready }
    }

    /// The CPU time of all its threads, to the nanosecond (`proc_pid_schedstat(5)`).
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }

    /// A field of `/proc/<pid>/status` that is given in kB, in MB.
    pub(crate) fn megabytes(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kilobytes: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024.0 / 1e6
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
