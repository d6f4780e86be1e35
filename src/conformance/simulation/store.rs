//! [`Simulated`], a store behind an unreliable network.

use std::future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::network::Network;
use super::world::Simulation;
use crate::collection::Timer;
use crate::store::{
    Abilities, Action, Batch, Changes, Commit, Committed, Condition, Entry, Error, Failure, Feed, Listed,
    Outcome, Page, Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// A layer that puts a store behind the [`Network`] of a [`Simulation`].
///
/// Its abilities say that outcomes can be unknown. The store below must recognise write ids: a commit may arrive twice,
/// and late.
///
/// ```
/// use ifmatch::conformance::simulation::{Network, Simulated, Simulation};
/// use ifmatch::{Memory, Store};
///
/// let world = Simulation::new(7);
/// let store = Simulated::new(&world, Memory::<u64>::new()).with_network(Network::calm());
/// assert!(store.abilities().may_lose_answers);
/// ```
pub struct Simulated<T: ?Sized> {
    store: Arc<dyn Store<T>>,
    world: Simulation,
    network: Network,
}

/// What becomes of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    LostRequest,
    LateRequest,
    LostReply,
    Silent,
}

/// A commit that outlives the call that sent it.
struct Parcel<T: ?Sized> {
    entries: Vec<(String, Condition, Action<T>)>,
    write: Option<WriteId>,
}

impl<T: Resource + ?Sized> Simulated<T> {
    /// Puts a store behind a [rough](Network::rough) network.
    pub fn new(world: &Simulation, store: impl Store<T>) -> Self {
        Self { store: Arc::new(store), world: world.clone(), network: Network::rough() }
    }

    /// The same store behind another network.
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// Whether one of so many happens now.
    fn one_in(&self, many: u64) -> bool {
        many > 0 && self.world.below(many) == 0
    }

    fn fate(&self) -> Fate {
        let network = &self.network;
        let fates = [
            (network.refused, Fate::Refused),
            (network.lost_requests, Fate::LostRequest),
            (network.late_requests, Fate::LateRequest),
            (network.lost_replies, Fate::LostReply),
            (network.silent, Fate::Silent),
        ];
        let failing = fates.into_iter().find(|(many, _)| self.one_in(*many));
        failing.map_or(Fate::Answered, |(_, fate)| fate)
    }

    /// A message is on its way.
    async fn travel(&self) {
        let most = self.network.delay.as_micros() as u64 + 1;
        self.world.sleep(Duration::from_micros(self.world.below(most))).await;
    }

    /// Delivers a commit at some later time, whoever waits for it.
    fn deliver_later(&self, parcel: Parcel<T>) {
        let (store, world) = (Arc::clone(&self.store), self.world.clone());
        self.world.spawn(async move {
            // From about now to long after the sender gave up.
            let late = 1 << world.below(25);
            world.sleep(Duration::from_micros(late)).await;
            // Nobody hears the answer.
            drop(store.commit(parcel.commit()).await);
        });
    }

    /// A read: it may be lost on either way, and is harmless each time.
    async fn read<A>(&self, read: impl Future<Output = Result<A, Error>>) -> Result<A, Error> {
        self.travel().await;
        match self.fate() {
            Fate::Answered => {
                let answer = read.await;
                self.travel().await;
                answer
            }
            Fate::Silent => future::pending().await,
            _ => {
                self.travel().await;
                Err(Failure::new(Outcome::NotApplied, "the connection was lost").into())
            }
        }
    }

    async fn send(&self, commit: Commit<'_, T>) -> Result<Committed, Error> {
        let write = commit.write();
        let lost = |outcome| {
            let failure = Failure::new(outcome, "the connection was lost");
            Error::from(match write {
                Some(write) => failure.with_write(write),
                None => failure,
            })
        };
        let fate = self.fate();
        if fate == Fate::Refused {
            return Err(Failure::new(Outcome::NotApplied, "the connection was refused").into());
        }
        if fate == Fate::LateRequest || (write.is_some() && self.one_in(self.network.repeated)) {
            self.deliver_later(Parcel::of(&commit));
        }
        self.travel().await;
        let arrives = match fate {
            Fate::LostRequest | Fate::LateRequest => false,
            Fate::Silent => self.world.below(2) == 0,
            _ => true,
        };
        let answer = if arrives { Some(self.store.commit(commit).await) } else { None };
        self.travel().await;
        match answer {
            Some(answer) if fate == Fate::Answered => answer,
            _ if fate == Fate::Silent => future::pending().await,
            _ => Err(lost(Outcome::Unknown)),
        }
    }
}

impl<T: Resource + ?Sized> Parcel<T> {
    fn of(commit: &Commit<'_, T>) -> Self {
        let entries = commit.entries().iter();
        let entries = entries.map(|entry| (entry.id.to_owned(), entry.condition, entry.action.clone()));
        Self { entries: entries.collect(), write: commit.write() }
    }

    fn commit(&self) -> Commit<'_, T> {
        let entries = self.entries.iter();
        let entries = entries.map(|(id, condition, action)| Entry {
            id,
            condition: *condition,
            action: action.clone(),
        });
        let commit: Commit<'_, T> = entries.collect();
        match self.write {
            Some(write) => commit.with_write(write),
            None => commit,
        }
    }
}

impl<T: Resource + ?Sized> Store<T> for Simulated<T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        Reply::pending(self.read(async move { self.store.get(id).await }))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        Reply::pending(self.send(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        Reply::pending(self.read(async move { self.store.resolve(write).await }))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        Reply::pending(self.read(async move { self.store.scan(scan).await }))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        Reply::pending(async move {
            let changes = self.read(async move { self.store.watch(from).await }).await?;
            let (world, cuts) = (self.world.clone(), self.network.cuts);
            Ok(Changes::new(changes.cursor().clone(), Line { changes, world, cuts, cut: false }))
        })
    }

    fn abilities(&self) -> Abilities {
        Abilities { may_lose_answers: true, ..self.store.abilities() }
    }
}

/// The way of a feed to its watcher.
struct Line<T: ?Sized> {
    changes: Changes<T>,
    world: Simulation,
    cuts: u64,
    cut: bool,
}

impl<T: Resource + ?Sized> Feed<T> for Line<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        if self.cut {
            let lost = Failure::new(Outcome::NotApplied, "the connection was lost");
            return Poll::Ready(Err(lost.into()));
        }
        let next = std::task::ready!(self.changes.poll_next(context));
        self.cut = self.cuts > 0 && self.world.below(self.cuts) == 0;
        Poll::Ready(next)
    }

    fn is_idle(&self) -> bool {
        self.changes.is_idle()
    }
}
