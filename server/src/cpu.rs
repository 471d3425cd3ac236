//! How many workers to run: the CPU quota of the container (cgroup v1 or v2, fractions rounded up), else the CPUs
//! that the process may run on. Read anew at each call, for a pod's limit can be changed in place; and how much of the
//! time the kernel held the container back.
//!
//! The CPU *request* of a container is no basis: the kernel shows a weight alone, and container runtimes make it of the
//! request by different formulas.

use crate::metrics::{counter, gauge};
use harper_config::{Threads, ThreadsBasis};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::path::{Path, PathBuf};

/// The number of workers that there should be now; at least 1.
#[must_use]
pub(crate) fn workers_wanted(threads: &Threads) -> usize {
    if let Some(count) = threads.count {
        return count;
    }
    let quota = match threads.basis {
        ThreadsBasis::Limit => quota(&threads.cgroup_root, &membership()),
        ThreadsBasis::Cpus => None,
    };
    // not `clamp`: it panics when the least is more than the most
    workers(quota, allowed_cpus()).max(threads.min).min(threads.max)
}

/// The groups of this process, as the kernel lists them.
fn membership() -> String {
    std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// The CPU quota in cores under the control group file system `root`, for a process with this
/// `/proc/self/cgroup`; the smallest of the process's own group and those above it. None means no limit.
#[must_use]
pub(crate) fn quota(root: &Path, membership: &str) -> Option<f64> {
    let quotas = groups_v2(root, membership).into_iter().filter_map(|group| quota_v2(&group));
    quotas
        .chain(groups_v1(root, membership).filter_map(|group| quota_v1(&group)))
        .min_by(f64::total_cmp)
}

fn groups_v2(root: &Path, membership: &str) -> Vec<PathBuf> {
    groups(root, membership, |controllers| controllers.is_empty())
}

fn groups_v1(root: &Path, membership: &str) -> impl Iterator<Item = PathBuf> {
    ["cpu", "cpu,cpuacct", "cpuacct,cpu"].into_iter().flat_map(move |mount| {
        groups(&root.join(mount), membership, |names| names.split(',').any(|name| name == "cpu"))
    })
}

fn workers(quota: Option<f64>, allowed: usize) -> usize {
    let limited = quota.map_or(allowed, |cores| (cores.ceil() as usize).min(allowed));
    limited.max(1)
}

/// The process's group below `mount` and every group above it. Inside a container the path that the kernel
/// reports may not exist below the mount, whose root is then the group itself.
fn groups(mount: &Path, membership: &str, controls: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let own = membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controls(controllers).then(|| path.trim_start_matches('/').to_owned())
    });
    let own = PathBuf::from(own.unwrap_or_default());
    own.ancestors().map(|group| mount.join(group)).collect()
}

fn quota_v2(group: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut words = text.split_whitespace();
    let (quota, period) = (words.next()?.parse::<f64>().ok()?, words.next()?.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn quota_v1(group: &Path) -> Option<f64> {
    let read = |name: &str| -> Option<f64> {
        std::fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
    };
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// How the kernel held the container back, from `cpu.stat`.
#[derive(Debug, PartialEq)]
struct Throttling {
    /// Periods that the container wanted to run in.
    periods: f64,
    /// Those of them in which it used up its quota.
    throttled_periods: f64,
    /// For how long its threads were held back, summed over them.
    throttled_seconds: f64,
}

/// The figures of the innermost group that has some.
fn throttling(root: &Path, membership: &str) -> Option<Throttling> {
    let groups = groups_v2(root, membership).into_iter().chain(groups_v1(root, membership));
    let mut texts = groups.filter_map(|group| std::fs::read_to_string(group.join("cpu.stat")).ok());
    texts.find_map(|text| {
        let value = |name: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line?.trim().parse().ok()
        };
        // microseconds in version 2, nanoseconds in version 1
        let v2 = value("throttled_usec").map(|micros| micros / 1e6);
        let throttled_seconds = v2.or_else(|| value("throttled_time").map(|nanos| nanos / 1e9))?;
        let (periods, throttled_periods) = (value("nr_periods")?, value("nr_throttled")?);
        Some(Throttling { periods, throttled_periods, throttled_seconds })
    })
}

/// Limit and throttling of the container, read when scraped; families that the kernel has no figures for are left out.
pub(crate) struct Cpu {
    /// Where the kernel shows control groups.
    pub cgroup_root: PathBuf,
}

impl Collector for Cpu {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let membership = membership();
        let mut families = Vec::new();
        if let Some(cores) = quota(&self.cgroup_root, &membership) {
            families.push(gauge("harper_cpu_limit_cores", "CPU limit of the container.", cores));
        }
        if let Some(found) = throttling(&self.cgroup_root, &membership) {
            let Throttling { periods, throttled_periods, throttled_seconds } = found;
            families.extend([
                counter(
                    "harper_cpu_periods_total",
                    "Periods of the CPU limit in which the container ran.",
                    periods,
                ),
                counter(
                    "harper_cpu_throttled_periods_total",
                    "Periods in which the container used up its CPU limit.",
                    throttled_periods,
                ),
                counter(
                    "harper_cpu_throttled_seconds_total",
                    "Time for which the CPU limit held threads back.",
                    throttled_seconds,
                ),
            ]);
        }
        families
    }
}

fn allowed_cpus() -> usize {
    rustix::thread::sched_getaffinity(None).map(|cpus| cpus.count() as usize).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn throttling_is_read_from_both_versions() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(throttling(root.path(), "1:cpu:/pod\n0::/\n"), None);
        let found = |periods, throttled_periods, throttled_seconds| {
            Some(Throttling { periods, throttled_periods, throttled_seconds })
        };
        let text = "nr_periods 10\nnr_throttled 4\nthrottled_time 2500000000\n";
        write(root.path(), "cpu/pod/cpu.stat", text);
        assert_eq!(throttling(root.path(), "1:cpu:/pod\n0::/\n"), found(10.0, 4.0, 2.5));
        // the root of version 2 has no figures of periods
        write(root.path(), "cpu.stat", "usage_usec 5\n");
        assert_eq!(throttling(root.path(), "1:cpu:/pod\n0::/\n"), found(10.0, 4.0, 2.5));
        let text = "usage_usec 5\nnr_periods 20\nnr_throttled 8\nthrottled_usec 1500000\n";
        write(root.path(), "cpu.stat", text);
        assert_eq!(throttling(root.path(), "0::/\n"), found(20.0, 8.0, 1.5));
    }

    #[test]
    fn the_number_of_workers_has_bounds() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.max", "50000 100000\n");
        let threads = |count, min, max, basis| {
            let cgroup_root = root.path().to_owned();
            workers_wanted(&Threads { count, min, max, basis, cgroup_root })
        };
        assert_eq!(threads(Some(9), 1, 4, ThreadsBasis::Limit), 9, "a number is a number");
        assert_eq!(threads(None, 1, 4, ThreadsBasis::Limit), 1);
        assert_eq!(threads(None, 3, 4, ThreadsBasis::Limit), 3);
        assert_eq!(threads(None, 1, 1024, ThreadsBasis::Cpus), allowed_cpus());
        assert_eq!(threads(None, 1, 1, ThreadsBasis::Cpus), 1);
    }

    #[test]
    fn fractions_round_up_and_never_exceed_the_allowed_cpus() {
        assert_eq!(workers(Some(0.5), 8), 1);
        assert_eq!(workers(Some(1.0), 8), 1);
        assert_eq!(workers(Some(1.5), 8), 2);
        assert_eq!(workers(Some(64.0), 8), 8);
        assert_eq!(workers(None, 8), 8);
        assert_eq!(workers(Some(0.001), 1), 1);
    }

    #[test]
    fn cgroup_v2_takes_the_smallest_quota_on_the_way_up() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "kubepods/cpu.max", "150000 100000\n");
        write(root.path(), "kubepods/pod1/cpu.max", "max 100000\n");
        assert_eq!(quota(root.path(), "0::/kubepods/pod1\n"), Some(1.5));
        assert_eq!(quota(root.path(), "0::/elsewhere\n"), None);
    }

    #[test]
    fn cgroup_v2_inside_a_container_reads_the_mount_itself() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.max", "50000 100000\n");
        assert_eq!(quota(root.path(), "0::/\n"), Some(0.5));
        assert_eq!(quota(root.path(), "0::/not/visible/here\n"), Some(0.5));
    }

    #[test]
    fn cgroup_v1_reads_quota_and_period() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu/pod/cpu.cfs_quota_us", "150000\n");
        write(root.path(), "cpu/pod/cpu.cfs_period_us", "100000\n");
        write(root.path(), "cpu/cpu.cfs_quota_us", "-1\n");
        write(root.path(), "cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota(root.path(), "2:cpuacct,cpu:/pod\n0::/\n"), Some(1.5));
        assert_eq!(quota(root.path(), "1:cpu:/\n"), None);
    }
}
