//! The real binary, run on a root and an application of its own.

use super::{Client, PATIENCE, Wire, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The administrator of every server that a test starts.
pub(crate) const USERNAME: &str = "admin";
/// Their password.
pub(crate) const PASSWORD: &str = "a password of the tests";

/// A directory with an application and, below it, the root of a server.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// A home without an application yet.
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self { dir: TempDir::with_prefix("harper-it-").unwrap() })
    }

    /// A home whose application serves the tables of `schema`.
    pub(crate) fn with_schema(schema: &str) -> Arc<Self> {
        let home = Self::empty();
        home.write("app/config.yaml", "rest: true\ngraphqlSchema:\n  files: schema.graphql\n");
        home.write("app/schema.graphql", schema);
        home
    }

    /// Writes a file, with the folders it needs.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A path below the home.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The binary with a clean environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env_clear().env("HOME", self.dir.path());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments))
    }

    /// What to start a server with: its application, free ports, and every loopback client a super user.
    pub(crate) fn launch(self: &Arc<Self>) -> Launch {
        self.launch_as("run").set("authentication.authorizeLocal=true")
    }

    /// The same without a word on who may do what.
    pub(crate) fn launch_as(self: &Arc<Self>, verb: &str) -> Launch {
        let mut command = self.command(&[verb]);
        let app = self.path("app");
        if app.exists() {
            command.arg(app);
        }
        if verb == "run" {
            command.arg("--root").arg(self.path("root"));
        }
        command.env("HDB_ADMIN_USERNAME", USERNAME).env("HDB_ADMIN_PASSWORD", PASSWORD);
        let launch = Launch { home: Arc::clone(self), command };
        launch
            .set("http.port=127.0.0.1:0")
            .set("admin.port=127.0.0.1:0")
            .set("operationsApi.network.port=null")
            .set("mqtt.network.port=null")
    }

    /// A server with two workers and nothing special.
    pub(crate) fn start(self: &Arc<Self>) -> Server {
        self.launch().set("threads.count=2").start()
    }
}

/// A server to be started.
pub(crate) struct Launch {
    home: Arc<Home>,
    command: Command,
}

impl Launch {
    /// Sets a configuration key, as `key=value`.
    pub(crate) fn set(mut self, pair: &str) -> Self {
        self.command.args(["--set", pair]);
        self
    }

    /// Adds arguments as they are.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Unsets an environment variable.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets configuration keys as an object of `HARPER_SET_CONFIG`.
    pub(crate) fn configured(self, config: &serde_json::Value) -> Self {
        self.env("HARPER_SET_CONFIG", config.to_string())
    }

    /// Starts the server and waits until it says that it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let Self { home, mut command } = self;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&log)),
            follow(child.stderr.take().unwrap(), Arc::clone(&log)),
        ];
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { home, child, log, readers, http: unknown, admin: unknown };
        server.http = server.announced_at_start("serving on ");
        server.admin = server.announced_at_start("metrics and probes on ");
        server
    }

    /// Runs a server that is expected not to start.
    #[track_caller]
    pub(crate) fn fail(self) -> Output {
        finish(self.command)
    }
}

/// Runs a command to its end, within a time.
#[track_caller]
fn finish(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = collect(child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{command:?} did not end:\n{}", text(&out.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn follow(from: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    })
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    pub(crate) home: Arc<Home>,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    /// Where the application is served.
    pub(crate) http: SocketAddr,
    /// Where metrics and probes are.
    pub(crate) admin: SocketAddr,
}

impl Server {
    #[track_caller]
    fn announced_at_start(&mut self, mark: &str) -> SocketAddr {
        eventually(mark, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            self.log.lock().unwrap().iter().any(|line| line.contains(mark)).then_some(())
        });
        self.announced(mark)
    }

    #[track_caller]
    fn announced(&self, mark: &str) -> SocketAddr {
        eventually(mark, || {
            let log = self.log.lock().unwrap();
            let rest = log.iter().find_map(|line| line.split_once(mark))?.1;
            rest.split(['"', ' ']).next()?.parse().ok()
        })
    }

    /// A client of the application.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// Where the application is served with TLS.
    #[track_caller]
    pub(crate) fn https(&self) -> SocketAddr {
        self.announced("serving with TLS on ")
    }

    /// Where MQTT is, where it was given a port.
    #[track_caller]
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.announced("MQTT on ")
    }

    /// Where MQTT is over TLS, where it was given a port.
    #[track_caller]
    pub(crate) fn mqtts(&self) -> SocketAddr {
        self.announced("MQTT with TLS on ")
    }

    /// A client of the Operations API, where it was given a port.
    #[track_caller]
    pub(crate) fn operations(&self) -> Client {
        Client::new(self.operations_address())
    }

    /// Where the Operations API is, plain or secure.
    #[track_caller]
    pub(crate) fn operations_address(&self) -> SocketAddr {
        self.announced("operations on ")
    }

    /// A client of the admin listener.
    pub(crate) fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// A connection to the application, for requests byte by byte.
    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(self.http)
    }

    /// The value of one series of `/metrics`, named with its labels.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let page = self.admin().get("/metrics").expect(200).text();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series}:\n{page}")).parse().unwrap()
    }

    /// Everything the server has printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line that holds `part`.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> String {
        eventually(part, || {
            self.log.lock().unwrap().iter().find(|line| line.contains(part)).cloned()
        })
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that the process has.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Holds every thread of the process still, as a machine does that has no time for it, until SIGCONT.
    pub(crate) fn hold_still(&self) {
        self.signal(Signal::STOP);
        eventually("every thread to stop", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let mut stats = threads.map(|thread| {
                std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default()
            });
            stats.all(|stat| stat.contains(") T ")).then_some(())
        });
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = eventually("the end of the server", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Whether the process has ended, for those who only borrow it; it stays to be waited for.
    pub(crate) fn has_ended(&self) -> bool {
        let state =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Whether the process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops the server as an orchestrator does, and returns its home.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Arc<Home> {
        self.signal(Signal::TERM);
        assert!(self.wait().success(), "{}", self.log());
        Arc::clone(&self.home)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // the process may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}\n---", self.log());
        }
    }
}

/// Threads of a process whose name begins with `prefix`.
pub(crate) fn named_threads(pid: u32, prefix: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // a thread may end while it is looked at
    let comm = |task: std::io::Result<std::fs::DirEntry>| task.map(|task| task.path().join("comm"));
    let names = tasks.filter_map(|task| std::fs::read_to_string(comm(task).ok()?).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

/// The binary under test.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HARPER_SERVER_BIN") {
        return path.into();
    }
    // the test is <target>/<profile>/deps/it-<hash>
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("harper-server");
    assert!(
        path.is_file(),
        "there is no {}: build it with `cargo build -p harper-server`, or name one in HARPER_SERVER_BIN",
        path.display()
    );
    path
}
