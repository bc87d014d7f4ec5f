//! A limit on memory as a container has it.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

/// How many were made.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A control group that is removed when it is empty.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// One whose processes may hold so many bytes together, by version 2 or 1 of the kernel's interface. The error says why
    /// this machine does not let us.
    pub(crate) fn with_memory(bytes: u64) -> io::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("eks-pod-identity-webhook-faults-{}-{number}", process::id());
        let is_second = fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
        let (parent, limit, swap) = match is_second {
            true => ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
            false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        };
        let group = Self(PathBuf::from(parent).join(name));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join(limit), bytes.to_string())?;
        // The file exists only with swap.
        fs::write(group.0.join(swap), if is_second { "0".to_owned() } else { bytes.to_string() }).ok();
        Ok(group)
    }

    /// What a shell does to enter it.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec", self.0.display())
    }

    /// How often the kernel killed a process for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let text = ["memory.events", "memory.oom_control"].map(|file| fs::read_to_string(self.0.join(file)));
        let text = text.into_iter().find_map(Result::ok).unwrap();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap();
        kills.parse().unwrap()
    }

    /// The most bytes that its processes ever held, file cache included.
    pub(crate) fn peak(&self) -> u64 {
        let text =
            ["memory.peak", "memory.max_usage_in_bytes"].map(|file| fs::read_to_string(self.0.join(file)));
        text.into_iter().find_map(Result::ok).map_or(0, |text| text.trim().parse().unwrap())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}
