//! [`Server`], a private server of a test: its own directory, a free port on loopback, gone with the test process.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::patience;

/// How long a server may take until it accepts connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the server, writes its process id, and kills it once the standard input ends: when the test process does, in
/// whatever way, and also where a terminal signals all of them. What it leaves behind is removed, unless it is told to keep
/// it.
const GUARD: &str = r#"
"$@" >>log 2>&1 </dev/null & server=$!
trap '' HUP INT TERM
echo $server
read -r word
kill -9 $server
wait
[ "$word" = keep ] || rm -rf "$PWD"
"#;

/// A server that a test started.
pub(crate) struct Server {
    directory: Directory,
    pub(crate) port: u16,
    program: PathBuf,
    arguments: Vec<String>,
    user: Option<u32>,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    process: String,
}

/// A directory that is removed with the last use of it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new one, which belongs to `user` if one is given.
    pub(crate) fn new(user: Option<u32>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // A process of the same number may have left one.
        let path = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("ifmatch-engines-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("no directory: {error}"),
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        if let Some(user) = user {
            chown(&path, Some(user), None).unwrap();
        }
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Starts `program` with the arguments, `{port}` and `{directory}` filled in, and waits until it accepts connections.
    pub(crate) fn start(
        program: PathBuf,
        directory: Directory,
        user: Option<u32>,
        arguments: &[&str],
    ) -> Self {
        patience::watch();
        let port = free_port();
        let fill = |argument: &&str| {
            argument
                .replace("{port}", &port.to_string())
                .replace("{directory}", directory.path().to_str().unwrap())
        };
        let arguments = arguments.iter().map(fill).collect();
        let mut server = Self { directory, port, program, arguments, user, running: None };
        server.start_again();
        server
    }

    /// Starts it again with the same directory and port, after [`kill`](Self::kill).
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&self.program).args(&self.arguments);
        guard.current_dir(self.directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(user) = self.user {
            guard.uid(user);
        }
        let mut guard = guard.spawn().unwrap();
        let mut process = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut process).unwrap();
        self.running = Some(Running { guard, process: process.trim().to_owned() });

        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < end, "{} does not answer:\n{}", self.program.display(), self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What was given with an argument.
    #[cfg(feature = "etcd")]
    pub(crate) fn argument(&self, name: &str) -> &str {
        let at = self.arguments.iter().position(|argument| argument == name).expect("it has the argument");
        &self.arguments[at + 1]
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read(self.directory.path().join("log"))
            .map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let mut stdin = running.guard.stdin.take().unwrap();
        // It may be gone already, with its guard.
        let _ = stdin.write_all(b"keep\n");
        drop(stdin);
        running.guard.wait().unwrap();
    }

    /// Stops it where it is: it answers nothing, and its connections stay open.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        // A thread on another core goes on for a moment.
        let tasks = format!("/proc/{}/task", self.running.as_ref().expect("it runs").process);
        // One that has ended does too.
        let stopped = |task: &fs::DirEntry| {
            let state = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with(['T', 'Z', 'X']))
        };
        let Ok(_) = fs::read_dir(&tasks) else { return };
        while !fs::read_dir(&tasks).unwrap().all(|task| task.is_ok_and(|task| stopped(&task))) {
            thread::yield_now();
        }
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = &self.running.as_ref().expect("it runs").process;
        assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where `program` is: on the `PATH`, or in one of the other directories in which its package puts it.
///
/// A test without its server fails, and tells which package has it.
pub(crate) fn program(program: &str, elsewhere: &[&str], package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(elsewhere.iter().map(PathBuf::from));
    directories
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("this test needs `{program}`: install the package `{package}`"))
}

/// A port that nobody listens on now.
///
/// Below those that the system gives to outgoing connections, or one of those could take it before the server does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..10_000 {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + ((process::id().wrapping_mul(97) + next) % 20_000) as u16;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return port,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("no port to listen on: {error}"),
        }
    }
    panic!("no free port");
}
