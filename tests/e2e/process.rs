//! A process that never outlives the tests, however they end.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Runs its arguments until its standard input ends, which is closed by the tests, or when they end, by a signal as well.
const GUARD: &str = r#""$@" & read -r _; kill -KILL $!; wait"#;

pub(crate) struct Process {
    guard: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` without the environment of the test run. Its output is written to `log`.
    pub(crate) fn start(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: PathBuf,
    ) -> Self {
        let out = File::create(&log).unwrap();
        let mut command = Command::new("sh");
        command.env_clear().args(["-c", GUARD, "sh"]).arg(program).args(args);
        command.stdin(Stdio::piped()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { guard: command.spawn().unwrap(), log }
    }

    /// The process itself, not the shell that guards it.
    pub(crate) fn pid(&self) -> u32 {
        let guard = self.guard.id();
        let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
        children.split(' ').next().unwrap().parse().unwrap()
    }

    #[allow(dead_code, reason = "tests/e2e uses it")]
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The last lines of its log, for the message of a failed test.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}
