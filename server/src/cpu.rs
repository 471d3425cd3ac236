//! How many workers to run: the CPU quota of the container (cgroup v1 or v2, fractions rounded up), else the CPUs
//! that the process may run on. Read anew at each call; nothing is frozen at start.

use std::path::{Path, PathBuf};

/// Where the kernel shows control groups.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The number of workers for `threads.count: auto`; at least 1.
#[must_use]
pub(crate) fn count() -> usize {
    let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota(Path::new(CGROUP_ROOT), &membership);
    workers(quota, allowed_cpus())
}

/// The CPU quota in cores under the control group file system `root`, for a process with this
/// `/proc/self/cgroup`; the smallest of the process's own group and those above it. None means no limit.
#[must_use]
pub(crate) fn quota(root: &Path, membership: &str) -> Option<f64> {
    let v2 = groups(root, membership, |controllers| controllers.is_empty());
    let v1 = ["cpu", "cpu,cpuacct", "cpuacct,cpu"].iter().flat_map(|mount| {
        groups(&root.join(mount), membership, |names| names.split(',').any(|name| name == "cpu"))
    });
    let quotas = v2.iter().filter_map(|group| quota_v2(group));
    quotas.chain(v1.filter_map(|group| quota_v1(&group))).min_by(f64::total_cmp)
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
