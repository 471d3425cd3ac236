//! Child processes: started on a core, watched through `/proc`, ended by their own id. Owns every process that the
//! benchmark starts and touches no other.

use std::{
    collections::HashMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const LOG_TAIL_BYTES: usize = 2_000;

/// A running child; dropping it ends it and its descendants.
pub(crate) struct Process {
    child: Child,
    log: std::path::PathBuf,
}

/// The core of the servers and the core of the client; `None` where this process may use one core only.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Process {
    /// Starts `command` on `core` (anywhere when `None`), with stdout and stderr going to the file `log`.
    pub(crate) fn start(mut command: Command, core: Option<usize>, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        Self::spawn(command, core, log)
    }

    /// Like `start`, with stdin and stdout as pipes for the caller.
    pub(crate) fn start_piped(
        mut command: Command,
        core: Option<usize>,
        log: &Path,
    ) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(out);
        Self::spawn(command, core, log)
    }

    fn spawn(mut command: Command, core: Option<usize>, log: &Path) -> Result<Self> {
        // A child inherits the cores of the thread that starts it, and all its threads with it.
        let child = on_core(core, || command.spawn())?;
        let child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The pipes of a child started with `start_piped`.
    pub(crate) fn pipes(
        &mut self,
    ) -> Result<(std::process::ChildStdin, std::process::ChildStdout)> {
        let stdin = self.child.stdin.take().context("stdin is not a pipe")?;
        let stdout = self.child.stdout.take().context("stdout is not a pipe")?;
        Ok((stdin, stdout))
    }

    /// The exit status, when the child has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that the child wrote to its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let start = text.len().saturating_sub(LOG_TAIL_BYTES);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Waits until `ready` says true, asking every `interval`; an error names the child's end or the time-out.
    pub(crate) fn wait_until(
        &mut self,
        timeout: Duration,
        interval: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = self.ended()? {
                bail!("the process ended with {status} before it was ready:\n{}", self.log_tail());
            }
            if begun.elapsed() > timeout {
                bail!("the process was not ready within {timeout:?}:\n{}", self.log_tail());
            }
            sleep(interval);
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let tree = descendants(self.id());
        // nginx's first process ends the others only when it is asked and not killed.
        signal(self.id(), Signal::TERM);
        let begun = Instant::now();
        while self.ended()?.is_none() && begun.elapsed() < STOP_TIMEOUT {
            sleep(Duration::from_millis(10));
        }
        if self.ended()?.is_none() {
            tree.iter().for_each(|id| signal(*id, Signal::KILL));
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            crate::report::note(&format!("cannot end process {}: {error:#}", self.id()));
        }
    }
}

/// The cores to use, chosen once: the first and the last that this process may run on.
pub(crate) fn cores() -> Option<Cores> {
    static CORES: OnceLock<Option<Cores>> = OnceLock::new();
    *CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Some(Cores { server: allowed.next()?, client: allowed.next_back()? })
    })
}

/// Runs `work` with the calling thread held to `core`, then lets the thread go where it could before.
pub(crate) fn on_core<T>(core: Option<usize>, work: impl FnOnce() -> T) -> Result<T> {
    let Some(core) = core else { return Ok(work()) };
    let before = sched_getaffinity(None).context("cannot read the thread's cores")?;
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).with_context(|| format!("cannot move to core {core}"))?;
    let result = work();
    sched_setaffinity(None, &before).context("cannot give the thread its cores back")?;
    Ok(result)
}

/// Time on a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime {
    /// In the program.
    pub(crate) user: Duration,
    /// In the kernel for it.
    pub(crate) system: Duration,
}

impl CpuTime {
    /// What was used after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// The time that a process and its descendants, living and reaped, have used. Resolution: 10 ms.
pub(crate) fn cpu_time(id: u32) -> Result<CpuTime> {
    let (mut user, mut system) = (0, 0);
    for id in std::iter::once(id).chain(descendants(id)) {
        let path = format!("/proc/{id}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = stat_ticks(&stat).with_context(|| format!("{path} is not understood"))?;
        user += ticks.0;
        system += ticks.1;
    }
    let time =
        |ticks| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    Ok(CpuTime { user: time(user), system: time(system) })
}

/// The time that each thread of a process has used, by its id. Resolution: nanoseconds.
pub(crate) struct ThreadTimes(HashMap<u32, Duration>);

/// What the threads of a process did between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// All of them.
    pub(crate) total: Duration,
    /// The one that did most: with a core for each thread, it is the one that limits the process.
    pub(crate) busiest: Duration,
}

impl ThreadTimes {
    /// Reads the times of the threads that live; what an ended one had used is not known.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/task");
        let tasks = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
        let time = |task: fs::DirEntry| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = text.split(' ').next()?.parse().ok()?;
            Some((thread, Duration::from_nanos(nanoseconds)))
        };
        Ok(Self(tasks.flatten().filter_map(time).collect()))
    }

    /// The thread that used most after `before`; none when there was none before.
    pub(crate) fn busiest_since(&self, before: &Self) -> Option<u32> {
        let used = self.0.iter().filter_map(|(thread, time)| {
            Some((*thread, time.saturating_sub(*before.0.get(thread)?)))
        });
        used.max_by_key(|(_, time)| *time).map(|(thread, _)| thread)
    }

    /// What was used after `before`.
    pub(crate) fn since(&self, before: &Self) -> Spent {
        let used = self.0.iter().map(|(thread, time)| {
            time.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        });
        used.fold(Spent { total: Duration::ZERO, busiest: Duration::ZERO }, |spent, time| Spent {
            total: spent.total + time,
            busiest: spent.busiest.max(time),
        })
    }
}

/// Anonymous resident memory of one process, in bytes.
pub(crate) fn anonymous_bytes(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .with_context(|| format!("no RssAnon in {path}"))?;
    Ok(kibibytes * 1024)
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// utime with cutime, and stime with cstime: fields 14 to 17, counted after the name, which may hold blanks and brackets.
fn stat_ticks(stat: &str) -> Option<(u64, u64)> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    let (user, system, children_user, children_system) = (next()?, next()?, next()?, next()?);
    Some((user + children_user, system + children_system))
}

fn descendants(id: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    let children = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().flat_map(str::parse).collect::<Vec<u32>>());
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        crate::report::note(&format!("cannot signal process {id}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_after_a_name_with_brackets() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 10 20 3 4 20 0 1 0 5 0 0";
        assert_eq!(stat_ticks(stat), Some((13, 24)));
        assert_eq!(stat_ticks("7 (a) S 1 7"), None);
    }

    #[test]
    fn the_busiest_thread_is_told_from_all() {
        let id = std::process::id();
        let before = ThreadTimes::of(id).unwrap();
        let begun = Instant::now();
        let mut spent = before.since(&before);
        assert_eq!(spent.total, Duration::ZERO);
        while spent.busiest < Duration::from_millis(20) && begun.elapsed().as_secs() < 20 {
            spent = ThreadTimes::of(id).unwrap().since(&before);
        }
        assert!(spent.busiest >= Duration::from_millis(20), "{spent:?}");
        assert!(spent.total >= spent.busiest, "{spent:?}");
        assert!(ThreadTimes::of(id).unwrap().busiest_since(&before).is_some());
    }

    #[test]
    fn a_dropped_process_and_its_children_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]);
        let mut process = Process::start(command, None, &directory.path().join("log")).unwrap();
        let id = process.id();
        let second = Duration::from_secs(5);
        process
            .wait_until(second, Duration::from_millis(5), || !descendants(id).is_empty())
            .unwrap();
        assert!(cpu_time(id).unwrap().total() < second);
        assert!(anonymous_bytes(id).unwrap() > 0);
        let children = descendants(id);
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
        children.iter().for_each(|child| signal(*child, Signal::KILL));
    }

    #[test]
    fn a_child_that_ends_early_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key; exit 64"]);
        let mut process = Process::start(command, None, &directory.path().join("log")).unwrap();
        let error = process
            .wait_until(Duration::from_secs(5), Duration::from_millis(5), || false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("64") && error.contains("no such key"), "{error}");
    }
}
