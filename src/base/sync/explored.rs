//! Shuttle's locks and atomics in the clothes of parking_lot's and dashmap's, as far as the crate wears them.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::marker::PhantomData;
use std::sync::PoisonError;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use dashmap::SharedValue;
use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// Few, so that of a handful of ids some share a shard and some don't.
const SHARDS: usize = 3;

#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For tests of the crate that ask it.
    pub(crate) fn is_locked(&self) -> bool {
        self.0.try_lock().is_err()
    }
}

#[derive(Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The raw side of a dashmap. Its hasher has the same keys in each run, so that a schedule can be run again.
pub(crate) struct DashMap<K, V, S> {
    shards: Vec<RwLock<Rows<(K, SharedValue<V>)>>>,
    hasher: BuildHasherDefault<DefaultHasher>,
    given: PhantomData<S>,
}

impl<K, V, S> DashMap<K, V, S> {
    pub(crate) fn with_capacity_and_hasher_and_shard_amount(_: usize, _: S, _: usize) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, hasher: BuildHasherDefault::default(), given: PhantomData }
    }

    pub(crate) fn hasher(&self) -> &BuildHasherDefault<DefaultHasher> {
        &self.hasher
    }

    pub(crate) fn determine_shard(&self, hash: usize) -> usize {
        hash % SHARDS
    }

    pub(crate) fn shards(&self) -> &[RwLock<Rows<(K, SharedValue<V>)>>] {
        &self.shards
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().0.len()).sum()
    }
}

/// The rows of one shard, each with its hash.
pub(crate) struct Rows<R>(Vec<(u64, R)>);

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Rows<R> {
    fn position(&self, hash: u64, mut is: impl FnMut(&R) -> bool) -> Option<usize> {
        self.0.iter().position(|(other, row)| *other == hash && is(row))
    }

    pub(crate) fn get(&self, hash: u64, is: impl FnMut(&R) -> bool) -> Option<&R> {
        self.position(hash, is).map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, hash: u64, is: impl FnMut(&R) -> bool) -> Option<&mut R> {
        self.position(hash, is).map(|at| &mut self.0[at].1)
    }

    pub(crate) fn insert_entry(&mut self, hash: u64, row: R, _: impl Fn(&R) -> u64) {
        self.0.push((hash, row));
    }

    pub(crate) fn remove_entry(&mut self, hash: u64, is: impl FnMut(&R) -> bool) -> Option<R> {
        self.position(hash, is).map(|at| self.0.swap_remove(at).1)
    }
}
