//! [`Gate`], the lines of writers that wait for a hot id.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::timer::{Sleep, Timer};
use crate::version::Versioned;

/// The lines of writers that wait for a hot id, one line an id.
///
/// The first writer that loses a round on an id opens its line; those who lose a round later, or come while there is
/// a line, join its end. The one at the head commits, and hands the value it knows to the next, who starts from it.
/// So each of the writers commits once, where without a line each round had one winner and the rest for losers.
///
/// It is advice, not a lock: a writer outside the line does no harm, as every commit checks its version. That lets a
/// wait end: a line that does not move for the stall time is left by those who wait in it.
pub(crate) struct Gate<T: ?Sized> {
    lines: Mutex<HashMap<Box<str>, Line<T>>>,
    /// How many lines there are, to be read without the lock. A writer that misses a line that was just opened only
    /// risks a lost round.
    open: AtomicUsize,
    timer: Arc<dyn Timer>,
    stall: Option<Duration>,
}

struct Line<T: ?Sized> {
    /// Who waits, by ticket: the first one has its turn.
    places: BTreeMap<u64, Option<Waker>>,
    drawn: u64,
    /// When the turn last passed on.
    moved: Instant,
    /// What the last one at the head knew, until the next takes it.
    handed: Option<Versioned<T>>,
}

/// A place in a line. Dropping it leaves the line; where it was at the head, the turn passes on.
#[must_use = "a place that is dropped is lost"]
pub(crate) struct Place<'a, T: ?Sized> {
    gate: &'a Gate<T>,
    id: &'a str,
    ticket: u64,
    /// What the next one is to start from: the newest value this one knows.
    pub(crate) known: Option<Versioned<T>>,
}

/// What waiting in line came to.
pub(crate) enum Called<T: ?Sized> {
    /// It is this one's turn, and this is what the one before it knew.
    Turn(Option<Versioned<T>>),
    /// The line does not move: go on without a turn.
    Stalled,
}

enum Look<T: ?Sized> {
    Head(Option<Versioned<T>>),
    Behind { moved: Instant },
}

impl<T: ?Sized> Gate<T> {
    /// A gate where nobody waits; without a stall time, one that is never closed.
    pub(crate) fn new(timer: Arc<dyn Timer>, stall: Option<Duration>) -> Self {
        Self { lines: Mutex::default(), open: AtomicUsize::new(0), timer, stall }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.stall.is_some()
    }

    /// Whether there is no line at all: one relaxed load.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Joins the line of `id` if there is one.
    pub(crate) fn follow<'a>(&'a self, id: &'a str) -> Option<Place<'a, T>> {
        if self.is_quiet() {
            return None;
        }
        let ticket = self.lines.lock().get_mut(id)?.draw();
        Some(Place { gate: self, id, ticket, known: None })
    }

    /// Joins the line of `id`, or opens it. `known` is what whoever opens it starts from, and is not used otherwise:
    /// those in front know better.
    pub(crate) fn join<'a>(&'a self, id: &'a str, known: Option<Versioned<T>>) -> Place<'a, T> {
        let moved = self.timer.now();
        let mut unused = None;
        let ticket = {
            let mut lines = self.lines.lock();
            match lines.get_mut(id) {
                Some(line) => {
                    unused = known;
                    line.draw()
                }
                None => {
                    let mut line = Line { places: BTreeMap::new(), drawn: 0, moved, handed: known };
                    let ticket = line.draw();
                    lines.insert(id.into(), line);
                    self.open.fetch_add(1, Ordering::Relaxed);
                    ticket
                }
            }
        };
        // The last handle of a value may run its drop: never under the lock.
        drop(unused);
        Place { gate: self, id, ticket, known: None }
    }

    /// Whether `ticket` is at the head; if not, `waker` is woken when it is.
    fn look(&self, id: &str, ticket: u64, waker: Waker) -> Look<T> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(id).expect("a line stays while somebody is in it");
        if line.is_head(ticket) {
            let handed = line.handed.take();
            drop(lines);
            drop(waker);
            return Look::Head(handed);
        }
        let replaced = line.places.insert(ticket, Some(waker));
        let moved = line.moved;
        drop(lines);
        drop(replaced);
        Look::Behind { moved }
    }

    fn leave(&self, id: &str, ticket: u64, known: Option<Versioned<T>>) {
        let now = self.timer.now();
        let mut unused = known;
        let mut next = None;
        let mut closed = None;
        let place = {
            let mut lines = self.lines.lock();
            let line = lines.get_mut(id).expect("a line stays while somebody is in it");
            let head = line.is_head(ticket);
            let place = line.places.remove(&ticket);
            if line.places.is_empty() {
                closed = lines.remove_entry(id);
                self.open.fetch_sub(1, Ordering::Relaxed);
            } else if head {
                line.moved = now;
                // One that leaves as soon as it is called has not taken what was handed to it: the next one does.
                if unused.is_some() {
                    mem::swap(&mut line.handed, &mut unused);
                }
                next = line.places.first_entry().and_then(|mut first| first.get_mut().take());
            }
            place
        };
        // Wakers and values are the caller's code, their drop included: never under the lock.
        drop((unused, closed, place));
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<T: ?Sized> Line<T> {
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.places.insert(self.drawn, None);
        self.drawn
    }

    fn is_head(&self, ticket: u64) -> bool {
        self.places.first_key_value().is_some_and(|(first, _)| *first == ticket)
    }
}

impl<T: ?Sized> Place<'_, T> {
    /// Waits for this one's turn, or until the line has not moved for the stall time.
    pub(crate) async fn called(&mut self) -> Called<T> {
        let mut sleep = None;
        poll_fn(|context| self.poll_called(&mut sleep, context)).await
    }

    fn poll_called(&mut self, sleep: &mut Option<Sleep>, context: &mut Context<'_>) -> Poll<Called<T>> {
        loop {
            let moved = match self.gate.look(self.id, self.ticket, context.waker().clone()) {
                Look::Head(handed) => {
                    // Kept at once, so that it is passed on if this one is dropped from here on.
                    self.known.clone_from(&handed);
                    return Poll::Ready(Called::Turn(handed));
                }
                Look::Behind { moved } => moved,
            };
            let stood = self.gate.timer.now().saturating_duration_since(moved);
            let stall = self.gate.stall.unwrap_or_default();
            if stood >= stall {
                return Poll::Ready(Called::Stalled);
            }
            // One sleep serves while the line moves: it is set again only when it is over.
            let alarm = sleep.get_or_insert_with(|| self.gate.timer.sleep(stall - stood));
            std::task::ready!(alarm.as_mut().poll(context));
            *sleep = None;
        }
    }
}

impl<T: ?Sized> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.gate.leave(self.id, self.ticket, self.known.take());
    }
}
