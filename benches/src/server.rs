//! [`Server`], the private server of a bench.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

/// A server on a free port. Its data lies in a directory of its own, within `IFMATCH_BENCH_DIR` or else the temporary
/// directory; both end with it.
pub struct Server {
    child: Child,
    pub port: u16,
    directory: PathBuf,
}

impl Server {
    /// Runs what `command` makes of a port and an empty directory, and waits until it accepts connections.
    pub fn start(name: &str, command: impl FnOnce(u16, &Path) -> Command) -> Self {
        let base = env::var_os("IFMATCH_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from);
        let directory = base.join(format!("ifmatch-bench-{name}-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let port = free_port();
        let mut command = command(port, &directory);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Self { child, port, directory }
    }

    /// PostgreSQL with the settings that it comes with. It takes logins a moment after it accepts connections.
    pub fn postgres() -> Self {
        Self::start("postgres", |port, directory| {
            let user = user();
            chown(directory, user, None).unwrap();
            let as_user = |name: &str| {
                let mut command = Command::new(program(name));
                command.current_dir(directory);
                user.map(|user| command.uid(user));
                command
            };
            let mut initdb = as_user("initdb");
            initdb.args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
                "data",
            ]);
            assert!(initdb.output().unwrap().status.success());
            let mut postgres = as_user("postgres");
            postgres
                .args(["-D", "data", "-p", &port.to_string(), "-k"])
                .arg(fs::canonicalize(directory).unwrap());
            postgres.args(["-c", "listen_addresses=127.0.0.1"]);
            postgres
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not killed: one with several processes would leave some behind.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// On the `PATH`, or where Debian's packages put it.
fn program(name: &str) -> PathBuf {
    let versions = (13..=18).rev().map(|version| format!("/usr/lib/postgresql/{version}/bin"));
    let programs = versions.map(|directory| Path::new(&directory).join(name));
    programs.into_iter().find(|program| program.is_file()).unwrap_or_else(|| name.into())
}

/// The server refuses to run as root: then it runs as the user that its package made.
fn user() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    match id(&["-u"]) {
        Some(0) => Some(id(&["-u", "postgres"]).expect("the package made a user `postgres`")),
        _ => None,
    }
}
