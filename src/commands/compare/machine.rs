//! The machine that measured, since latencies mean nothing without it.

use std::{fmt, fs, thread};

/// What latencies depend on.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    cores: usize,
    processor: Option<String>,
    kernel: Option<String>,
}

impl Machine {
    /// This one. What the operating system does not tell is left out.
    pub(super) fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: model.map(|(_, model)| model.trim().to_owned()),
            kernel: kernel.map(|kernel| kernel.trim().to_owned()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cores, if self.cores == 1 { "core" } else { "cores" })?;
        if let Some(processor) = &self.processor {
            write!(f, ", {processor}")?;
        }
        write!(f, ", {} {}", std::env::consts::OS, std::env::consts::ARCH)?;
        self.kernel.as_ref().map_or(Ok(()), |kernel| write!(f, ", kernel {kernel}"))
    }
}
