//! The process itself, under the names that Prometheus' client libraries give it, and the peak of its memory.
//!
//! The `prometheus` crate has such a collector, but it counts whole seconds of CPU time. An admission takes some
//! 20 µs, so whole seconds are too coarse to measure its cost. The kernel counts hundredths.

use std::fs;

use prometheus::{
    Counter, Gauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// `USER_HZ`, the unit of the kernel's times on every architecture that Rust builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape. Without `/proc` it has no metrics.
pub(super) struct ProcessCollector {
    cpu: Counter,
    gauges: [Gauge; 6],
    start_time: Gauge,
}

const CPU: (&str, &str) = ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
const START_TIME: (&str, &str) =
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");

/// In the order of [`read_gauges`].
const GAUGES: [(&str, &str); 6] = [
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_resident_memory_peak_bytes", "Peak of the resident memory size in bytes."),
    ("process_threads", "Number of OS threads in the process."),
];

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let opts = |(name, help): (&str, &str)| Opts::new(name, help);
        let gauge = |named| Gauge::with_opts(opts(named)).expect("the name is valid");
        let start_time = gauge(START_TIME);
        start_time.set(read_start_time().unwrap_or_default());
        let cpu = Counter::with_opts(opts(CPU)).expect("the name is valid");
        Self { cpu, gauges: GAUGES.map(gauge), start_time }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().chain([&self.start_time]);
        self.cpu.desc().into_iter().chain(gauges.flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (Some(cpu), Some(values)) = (read_cpu_seconds(), read_gauges()) else { return Vec::new() };
        // Two scrapes may meet here; a counter is never made less.
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.gauges.iter().zip(values).for_each(|(gauge, value)| gauge.set(value));
        let gauges = self.gauges.iter().chain([&self.start_time]);
        self.cpu.collect().into_iter().chain(gauges.flat_map(Collector::collect)).collect()
    }
}

fn read_gauges() -> Option<[f64; 6]> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let number = |key| -> Option<f64> {
        let value = status.lines().find_map(|line| line.strip_prefix(key))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let kibibytes = |key| Some(number(key)? * 1024.0);
    // The folder that is read is open itself.
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    let (max_fds, _) = rlimit::Resource::NOFILE.get().ok()?;
    Some([
        open_fds as f64,
        max_fds as f64,
        kibibytes("VmSize:")?,
        kibibytes("VmRSS:")?,
        kibibytes("VmHWM:")?,
        number("Threads:")?,
    ])
}

fn read_cpu_seconds() -> Option<f64> {
    let (user, system) = (stat_field(14)?, stat_field(15)?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn read_start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(22)? / TICKS_PER_SECOND)
}

/// A field of `/proc/self/stat` by its number in proc(5). The second is the program's name in parentheses, which may
/// hold anything.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number - 3)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_those_of_the_kernel() {
        let collector = ProcessCollector::new();
        let families = collector.collect();
        assert_eq!(families.len(), collector.desc().len());
        for family in &families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            assert!(value > 0.0 || family.name() == CPU.0, "{} {value}", family.name());
        }
        let now = super::super::now();
        assert!((now - 24.0 * 3600.0..=now + 1.0).contains(&collector.start_time.get()));
    }
}
