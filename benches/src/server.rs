//! [`Server`], the private server of a bench.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
