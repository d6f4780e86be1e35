//! [`Hub`], which rings when there are new commits.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, RedisError, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::trouble::Trouble;
use super::wire::Wire;

/// How long one wait for a commit lasts. A namespace that was wiped meanwhile is noticed after it.
const WAIT: Duration = Duration::from_secs(1);

/// How long to wait after a connection failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Rings when there are new commits, for all watchers of a store together.
///
/// It has a connection of its own: the commands of others would wait behind one that blocks. It knows of no watcher
/// and keeps nothing for them; each reads on from its own place.
pub(super) struct Hub {
    bell: watch::Sender<()>,
    task: AbortHandle,
}

impl Hub {
    /// Rings for what comes into this log. `limit` bounds each answer of the server, `handle` is where it runs.
    pub(super) fn start(link: Arc<Link>, log: String, limit: Duration, handle: &Handle) -> Self {
        let bell = watch::Sender::new(());
        let ring = bell.clone();
        let listening = async move {
            loop {
                if let Ok(wire) = link.connect().await {
                    let _ended = listen(wire, &log, limit, &ring).await;
                }
                sleep(PAUSE).await;
            }
        };
        let task = handle.spawn(listening).abort_handle();
        Self { bell, task }
    }

    /// Rings for what is committed from now on.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Rings at first, and then at each new commit, until the connection breaks.
async fn listen(mut wire: Wire, log: &str, limit: Duration, ring: &watch::Sender<()>) -> Result<(), Trouble> {
    let mut seen = None;
    loop {
        let mut last = Cmd::new();
        last.arg("XREVRANGE").arg(log).arg("+").arg("-").arg("COUNT").arg(1);
        let last = last_id(answer(timeout(limit, wire.send(&last)).await, limit)?);
        if seen.as_ref() != Some(&last) {
            ring.send_replace(());
        }
        let mut next = Cmd::new();
        next.arg("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(WAIT.as_millis() as u64);
        next.arg("STREAMS").arg(log).arg(&last);
        answer(timeout(WAIT + limit, wire.send(&next)).await, limit)?;
        seen = Some(last);
    }
}

fn answer<E>(given: Result<Result<Value, RedisError>, E>, limit: Duration) -> Result<Value, Trouble> {
    match given {
        Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(Trouble::Late(limit)),
    }
}

/// The id of the only entry; of an empty stream the one before all.
fn last_id(entries: Value) -> Vec<u8> {
    if let Value::Array(entries) = entries
        && let Some(Value::Array(entry)) = entries.into_iter().next()
        && let Some(Value::BulkString(id)) = entry.into_iter().next()
    {
        return id;
    }
    b"0-0".to_vec()
}
