//! [`Reply`]: an answer that is already here, or a future for it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::store::error::Error;

/// An answer that is already here, or a future for it.
///
/// Await it, or in a program without an async runtime call [`wait`](Self::wait). A store in memory answers at once:
/// such a reply costs no allocation, and awaiting it does not yield. Other stores may do nothing at all before the
/// reply is awaited: a reply that is forgotten is a write that may not happen.
///
/// A call may begin when it is made, before its reply is polled: a store in memory has done its work by then.
///
/// Dropping a pending reply leaves the store in the state before the call or after it, never between; whether the
/// call was applied is then unknown.
///
/// ```
/// use ifmatch::Reply;
///
/// let here: Reply<'_, u32> = Reply::ready(Ok(1));
/// assert_eq!(here.then(|one| Ok::<_, ifmatch::Error>(one? + 1)).wait()?, 2);
///
/// let later: Reply<'_, u32> = Reply::pending(async { Ok(1) });
/// assert_eq!(later.wait()?, 1);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a reply may still be pending: await it, or call `wait`"]
pub struct Reply<'a, T, E = Error>(Progress<'a, T, E>);

type Pending<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

enum Progress<'a, T, E> {
    Ready(Result<T, E>),
    Pending(Pending<'a, T, E>),
    Taken,
}

// Nothing is pinned in place: the future has its own box.
impl<T, E> Unpin for Reply<'_, T, E> {}

impl<'a, T, E> Reply<'a, T, E> {
    /// The answer is here.
    #[inline]
    pub fn ready(answer: Result<T, E>) -> Self {
        Self(Progress::Ready(answer))
    }

    /// The answer comes from a future. Costs one allocation.
    pub fn pending(future: impl Future<Output = Result<T, E>> + Send + 'a) -> Self {
        Self(Progress::Pending(Box::pin(future)))
    }

    /// The answer of a future that is polled once right here: ready where that gives it, pending where it does not. Costs
    /// one allocation.
    ///
    /// For a layer that asks the store below under another id, which only the future can own: over a store that
    /// answers at once so does the layer.
    ///
    /// ```
    /// use ifmatch::{Memory, Reply, Store, Versioned};
    ///
    /// fn upper<'a>(store: &'a Memory<str>, id: &'a str) -> Reply<'a, Option<Versioned<str>>> {
    ///     Reply::begin(async move { store.get(&id.to_uppercase()).await })
    /// }
    ///
    /// assert!(matches!(upper(&Memory::new(), "a").into_ready(), Ok(Ok(None))));
    /// ```
    pub fn begin(future: impl Future<Output = Result<T, E>> + Send + 'a) -> Self {
        let mut future: Pending<'a, T, E> = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self::ready(answer),
            Poll::Pending => Self(Progress::Pending(future)),
        }
    }

    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.0, Progress::Pending(_))
    }

    /// The answer where it lies, if it is here and not an error.
    ///
    /// Moving a whole reply reads in large pieces what was written word by word just before, which the processor
    /// answers with a stall as long as a look-up. So the hot paths look first, and take only what they need.
    #[inline]
    pub(crate) fn good(&self) -> Option<&T> {
        match &self.0 {
            Progress::Ready(Ok(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The answer if it is here, else the reply again.
    ///
    /// ```
    /// # use ifmatch::Reply;
    /// let here: Reply<'_, u32> = Reply::ready(Ok(1));
    /// assert!(matches!(here.into_ready(), Ok(Ok(1))));
    /// ```
    #[inline]
    pub fn into_ready(self) -> Result<Result<T, E>, Self> {
        match self.0 {
            Progress::Ready(answer) => Ok(answer),
            state => Err(Self(state)),
        }
    }

    /// Changes the answer once it is here: a ready reply stays ready, a pending one pending. `change` also runs where
    /// the answer is an error.
    #[inline]
    pub fn then<U, F>(self, change: impl FnOnce(Result<T, E>) -> Result<U, F> + Send + 'a) -> Reply<'a, U, F>
    where
        T: 'a,
        E: 'a,
    {
        match self.0 {
            Progress::Ready(answer) => Reply::ready(change(answer)),
            Progress::Pending(future) => Reply::pending(async move { change(future.await) }),
            Progress::Taken => unreachable!("a reply gives itself away only to its own poll"),
        }
    }

    /// Changes the answer where it is not an error.
    ///
    /// ```
    /// # use ifmatch::Reply;
    /// let one: Reply<'_, u32> = Reply::ready(Ok(1));
    /// assert_eq!(one.map(|one| one + 1).wait()?, 2);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Reply<'a, U, E>
    where
        T: 'a,
        E: 'a,
    {
        self.then(|answer| answer.map(change))
    }

    /// Goes on with another call once the answer is here and not an error.
    ///
    /// ```
    /// # use ifmatch::Reply;
    /// let one: Reply<'_, u32> = Reply::ready(Ok(1));
    /// assert_eq!(one.and_then(|one| Reply::pending(async move { Ok(one + 1) })).wait()?, 2);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Reply<'a, U, E> + Send + 'a) -> Reply<'a, U, E>
    where
        T: Send + 'a,
        U: Send,
        E: Send + 'a,
    {
        match self.into_ready() {
            Ok(Ok(answer)) => next(answer),
            Ok(Err(error)) => Reply::ready(Err(error)),
            Err(reply) => Reply::pending(async move { next(reply.await?).await }),
        }
    }

    /// The answer, parking this thread until it is here. Needs no runtime.
    ///
    /// On a thread that an async runtime needs, it holds up the other tasks there, like every blocking call: await the
    /// reply instead. It does get its answer: the stores in this process have their own threads, and those on engines
    /// hand the work of a tokio thread that waits over to another one.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// assert!(notes.get("readme").wait()?.is_none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn wait(self) -> Result<T, E> {
        // Each kind of answer by itself: see `good`.
        match self.0 {
            Progress::Ready(Ok(answer)) => Ok(answer),
            Progress::Ready(Err(error)) => Err(error),
            state => match block_on(Self(state)) {
                Ok(answer) => Ok(answer),
                Err(error) => Err(error),
            },
        }
    }
}

/// Runs a future on this thread, which parks while there is nothing to do.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let _blocking = Blocking::begin();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => BLOCKING.get().unwrap_or(thread::park)(),
        }
    }
}

thread_local! {
    /// How this thread parks, while it is in [`block_on`].
    static BLOCKING: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Whether the future that is being polled has this thread to itself: its caller waits, and no task of an executor is
/// held up by work that is done right here.
#[cfg(feature = "file")]
pub(crate) fn is_blocking() -> bool {
    BLOCKING.get().is_some()
}

/// For a future that is being polled and needs more than this thread: where its caller waits, it parks by `park` from now
/// on, until its answer is here.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub(crate) fn park_by(park: fn()) {
    if BLOCKING.get().is_some() {
        BLOCKING.set(Some(park));
    }
}

/// Marks this thread for as long as it lives.
struct Blocking {
    before: Option<fn()>,
}

impl Blocking {
    fn begin() -> Self {
        Self { before: BLOCKING.replace(Some(thread::park)) }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        BLOCKING.set(self.before);
    }
}

impl<T, E> Future for Reply<'_, T, E> {
    type Output = Result<T, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::Pending(future) = &mut self.0 {
            let answer = std::task::ready!(future.as_mut().poll(context));
            self.0 = Progress::Taken;
            return Poll::Ready(answer);
        }
        match mem::replace(&mut self.0, Progress::Taken) {
            Progress::Ready(answer) => Poll::Ready(answer),
            Progress::Pending(_) | Progress::Taken => {
                panic!("a reply was polled after it had given its answer")
            }
        }
    }
}

impl<T, E> fmt::Debug for Reply<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Progress::Ready(_) => "Reply(ready)",
            Progress::Pending(_) => "Reply(pending)",
            Progress::Taken => "Reply(taken)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pending once, then woken from another thread.
    fn later(number: u32) -> Reply<'static, u32> {
        let mut asked = false;
        Reply::pending(std::future::poll_fn(move |context| {
            if mem::replace(&mut asked, true) {
                return Poll::Ready(Ok(number));
            }
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        }))
    }

    #[test]
    fn ready_stays_ready_through_every_adapter() {
        let reply = Reply::<u32>::ready(Ok(1))
            .map(|one| one + 1)
            .then(|two| Ok::<_, Error>(two? + 1))
            .and_then(|three| Reply::ready(Ok(three + 1)));

        assert!(matches!(reply.into_ready(), Ok(Ok(4))));
    }

    #[test]
    fn a_pending_answer_is_waited_for_without_a_runtime() {
        let reply = later(1).map(|one| one + 1).and_then(|two| later(two + 1)).then(|three| three);

        assert!(format!("{reply:?}").contains("pending"));
        assert_eq!(reply.wait().unwrap(), 3);
    }

    #[test]
    #[should_panic(expected = "after it had given its answer")]
    fn polling_twice_panics() {
        let mut reply = Reply::<u32>::ready(Ok(1));

        let _ = block_on(&mut reply);
        let _ = block_on(&mut reply);
    }
}
