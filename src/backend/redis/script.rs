//! [`Script`], one of the scripts that run inside Redis, and [`Request`], one run of it.

use std::sync::LazyLock;

use ::redis::{Arg, Cmd, Script as Hashed};

/// A script and its digest, by which Redis knows it once it has seen it.
pub(super) struct Script {
    source: String,
    digest: String,
}

/// One command to be sent.
pub(super) struct Request {
    pub(super) command: Cmd,
    script: Option<&'static Script>,
    /// Whether it may be sent again where it may have been carried out: it reads.
    pub(super) repeatable: bool,
}

/// What stands before each of them.
const COMMON: &str = include_str!("common.lua");

/// Lets a script run where memory has run out: it frees some, or takes little.
const ALLOW_OOM: &str = " flags=allow-oom";

/// Judges and applies a commit.
pub(super) static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new("", include_str!("commit.lua")));

/// The same for a commit that puts nothing: deletions must get through where memory has run out.
pub(super) static FREEING_COMMIT: LazyLock<Script> =
    LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("commit.lua")));

/// Tells what became of a commit.
pub(super) static RESOLVE: LazyLock<Script> =
    LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("resolve.lua")));

/// Lists a page.
pub(super) static SCAN: LazyLock<Script> = LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("scan.lua")));

/// Begins a watch.
pub(super) static WATCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("watch.lua")));

/// Reads the next commit of the feed.
pub(super) static NEXT: LazyLock<Script> = LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("next.lua")));

/// Finds or begins a namespace.
pub(super) static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(ALLOW_OOM, include_str!("open.lua")));

/// The texts of the scripts that calls run.
pub(super) fn sources() -> impl Iterator<Item = &'static str> {
    [&COMMIT, &FREEING_COMMIT, &RESOLVE, &SCAN, &WATCH, &NEXT, &OPEN]
        .into_iter()
        .map(|script| &*script.source)
}

impl Script {
    fn new(flags: &str, body: &str) -> Self {
        let source = format!("#!lua{flags}\n{COMMON}{body}");
        let digest = Hashed::new(&source).get_hash().to_owned();
        Self { source, digest }
    }

    /// A run of it, to which arguments may be added. `bytes` is about how many there will be.
    pub(super) fn call<K: AsRef<[u8]>>(&'static self, keys: &[K], bytes: usize) -> Request {
        let mut command = Cmd::with_capacity(8 + 4 * keys.len(), 64 + bytes);
        command.arg("EVALSHA").arg(&self.digest).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        Request { command, script: Some(self), repeatable: false }
    }
}

impl Request {
    /// A command that only reads.
    pub(super) fn reading(command: Cmd) -> Self {
        Self { command, script: None, repeatable: true }
    }

    pub(super) fn argument(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// The same with the script itself in place of its digest, for a server that does not know it.
    pub(super) fn with_source(&self) -> Option<Cmd> {
        let script = self.script?;
        let mut command = Cmd::new();
        command.arg("EVAL").arg(&script.source);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_redis_forgot_is_sent_whole_with_the_same_arguments() {
        let call = RESOLVE.call(&["key"], 10).argument("write").argument(b"\0\r\n");

        let packed = |command: &Cmd| command.get_packed_command();
        let digest = &RESOLVE.digest;
        let tail = b"$1\r\n1\r\n$3\r\nkey\r\n$5\r\nwrite\r\n$3\r\n\0\r\n\r\n";
        assert!(
            packed(&call.command)
                .starts_with(format!("*6\r\n$7\r\nEVALSHA\r\n$40\r\n{digest}\r\n").as_bytes())
        );
        assert!(packed(&call.command).ends_with(tail));
        let whole = packed(&call.with_source().unwrap());
        assert!(whole.starts_with(b"*6\r\n$4\r\nEVAL\r\n") && whole.ends_with(tail));
    }

    #[test]
    fn a_commit_that_puts_nothing_runs_the_same_script_under_another_flag() {
        assert!(COMMIT.source.starts_with("#!lua\n"));
        assert!(FREEING_COMMIT.source.starts_with("#!lua flags=allow-oom\n"));
        assert_eq!(COMMIT.source.lines().skip(1).count(), FREEING_COMMIT.source.lines().skip(1).count());
    }
}
