//! [`Runtime`], where the connections of a store live.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, RuntimeFlavor};

use super::home::Home;
use crate::store::{Changes, Cursor, Error, Feed, Reply, WriteId};

/// Where the connections of a store live: the tokio runtime it was opened in, or else one of its own.
///
/// A runtime of one thread does nothing while its thread waits for something else, as in [`Reply::wait`]: neither its
/// sockets nor its timers would end such a wait. So only one of several threads will do.
///
/// With it the calls of a store can be polled from anywhere: by another executor, or by a thread that just waits. See
/// [`Home`] for what they are told when a runtime of the program's ends before the store.
pub(crate) struct Runtime {
    home: Arc<Home>,
    own: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    /// The runtime of several threads that this one is in; where there is none, a new one with a thread of its own.
    pub(crate) fn current_or_own() -> io::Result<Self> {
        if let Ok(handle) = Handle::try_current()
            && handle.runtime_flavor() == RuntimeFlavor::MultiThread
        {
            return Ok(Self { home: Home::in_runtime(handle), own: None });
        }
        let own = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ifmatch-engine")
            .enable_all()
            .build()?;
        Ok(Self { home: Home::in_runtime(own.handle().clone()), own: Some(own) })
    }

    /// See [`Home::reply`].
    pub(crate) fn reply<'a, T, E: From<super::RuntimeEnded> + 'a>(
        &self,
        future: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> Reply<'a, T, E> {
        self.home.reply(future)
    }

    /// See [`Home::commit`].
    pub(crate) fn commit<'a, T>(
        &self,
        write: Option<WriteId>,
        future: impl Future<Output = Result<T, Error>> + Send + 'a,
    ) -> Reply<'a, T> {
        self.home.commit(write, future)
    }

    /// See [`Home::changes`].
    pub(crate) fn changes<T: ?Sized + 'static>(
        &self,
        cursor: Cursor,
        feed: impl Feed<T> + 'static,
    ) -> Changes<T> {
        self.home.changes(cursor, feed)
    }

    /// For a call that takes the runtime itself along.
    #[cfg(feature = "postgres")]
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// For tasks that outlive the call that starts them.
    pub(crate) fn handle(&self) -> &Handle {
        self.home.handle()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A plain drop would wait for its thread, which tokio forbids within an async task.
        if let Some(own) = self.own.take() {
            own.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Error;

    fn nap(runtime: &Runtime) -> Reply<'static, u32> {
        runtime.reply(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Error>(1)
        })
    }

    #[test]
    fn a_plain_thread_can_wait_for_what_needs_a_runtime() {
        let runtime = Runtime::current_or_own().unwrap();

        assert!(runtime.own.is_some());
        assert_eq!(nap(&runtime).wait().unwrap(), 1);
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_that_thread_can_wait() {
        let runtime = Runtime::current_or_own().unwrap();

        assert_eq!(nap(&runtime).wait().unwrap(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_uses_the_runtime_it_is_in_and_may_drop_one_of_another() {
        let runtime = Runtime::current_or_own().unwrap();
        let other = std::thread::spawn(|| Runtime::current_or_own().unwrap()).join().unwrap();

        assert!(runtime.own.is_none());
        assert_eq!(nap(&runtime).await.unwrap() + nap(&other).await.unwrap(), 2);
        drop(other);
    }
}
