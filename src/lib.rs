//! Optimistic concurrency for any store: versioned resources, compare-and-swap commits, typed conflicts.
//!
//! A program wraps its objects in [`Versioned<T>`](Versioned), and each write says which version it was based on. A
//! write based on a stale version changes nothing and comes back as one typed [`Conflict`].
//!
//! ```
//! use ifmatch::{Collection, Error};
//!
//! let documents = Collection::<String>::in_memory();
//! let first = documents.create("readme", "hello".to_string()).wait()?;
//!
//! documents.replace("readme", first.version, "hello, world".to_string()).wait()?; // fine
//! let late = documents.replace("readme", first.version, "oops".to_string()).wait(); // too late
//!
//! let Err(Error::Conflict(conflict)) = late else { unreachable!() };
//! assert_eq!(conflict.id(), "readme");
//! assert_eq!(*conflict.current::<String>().unwrap().value, "hello, world");
//! # Ok::<_, Error>(())
//! ```
//!
//! Every call gives a [`Reply`]: await it, or without an async runtime [`wait`](Reply::wait) for it. A value is given as
//! `T` or as `Arc<T>`, so `"hello".into()` is ambiguous where `"hello".to_string()` is not.
//!
//! # Several ids at one instant
//!
//! ```
//! use ifmatch::{Collection, Error, Kind};
//!
//! let stock = Collection::<u32>::in_memory();
//! stock.create("apples", 3).wait()?;
//!
//! // Reads, changes, commits; on a conflict again from the current value. The closure may run more than once.
//! stock.modify("apples", |count| *count -= 1).wait()?;
//!
//! // What was read through it is checked, so nothing of that can change underneath. A list is not.
//! let mut swap = stock.transaction();
//! let apples = swap.get("apples").wait()?.map_or(0, |apples| *apples);
//! swap.put("apples", apples - 1);
//! swap.put("pears", 1);
//! stock.modify("apples", |count| *count += 10).wait()?; // somebody else was faster
//!
//! let Err(Error::Conflict(conflict)) = swap.commit().wait() else { unreachable!() };
//! assert_eq!(conflict.kind(), &Kind::Stale);
//! assert_eq!(*conflict.current::<u32>().unwrap().value, 12);
//! assert!(stock.get("pears").wait()?.is_none()); // all or nothing
//! # Ok::<_, Error>(())
//! ```
//!
//! # Where to look
//!
//! - [`Collection`] is what most programs use: [`create`](Collection::create), [`replace`](Collection::replace),
//!   [`modify`](Collection::modify), drafts, transactions, lists and watches. What its calls take and give besides is
//!   in [`collection`].
//! - [`Database`] is for several types in one store, and for commits over them.
//! - [`Error`] and [`Conflict`] say what went wrong, and what to do about it. Their parts are in [`store`].
//! - [`Encoded`] keeps values in a store of bytes; [`codec`] has the formats. [`Cached`], [`Guarded`] and [`Observed`]
//!   wrap any store; [`layer`] shows how to write one.
//! - [`http`] has the verbs, entity tags, preconditions, statuses and problem bodies, for any framework; [`web`] has the glue.
//!   [`docs::frameworks`] shows it in any other framework, [`docs::problems`] has a page for each problem,
//!   [`docs::proxies`] tells of proxies that change tags, and [`docs::gateways`] of what gateways promise.
//! - [`lease`] is for what one may write at a time, and for jobs that only one may run.
//! - [`history`](mod@history) keeps what resources were, in the commit of each change.
//! - [`merge`](mod@merge) is for forms and settings that several change at once; [`docs::merging`] shows it, and
//!   `examples/settings.rs` is the whole program.
//! - [`table`] is for programs that keep their rows in SQL tables of their own, and want the conflicts alone.
//! - `examples/resource.rs` serves three collections, each in one line.
//! - `examples/shop.rs` is a service with three types of resources and one error enum.
//! - [`docs::dialogue`] is a dialogue with the service of `examples/articles.rs`, through curl.
//! - [`Memory`], [`File`], [`Postgres`], [`Etcd`] and [`Redis`] are the stores; [`docs::stores`] compares them.
//! - [`Store`] is for those who write stores; [`docs::writing_a_store`] shows how, and
//!   [`conformance`](mod@conformance) tests them.
//! - [`docs::architecture`] tells how it all hangs together.
//!
//! # Features
//!
//! | feature | default | what it adds | what it brings |
//! |---|---|---|---|
//! | `json` | yes | the [`Json`] codec, [`Collection::json`], problem bodies as text | `serde_json` |
//! | `axum` | no | extractors and responses for axum ([`web::axum`]) | `axum-core`, `http`, `http-body`, `bytes` |
//! | `actix` | no | extractors and responses for actix-web ([`web::actix`]) | `actix-web`, `http`, `bytes` |
//! | `tonic` | no | errors as the status of gRPC, preconditions in metadata ([`web::tonic`]) | `tonic`, `tonic-types`, `http` |
//! | `dates` | no | modification dates on reads; part of `axum` and `actix` | `httpdate` |
//! | `merge` | no | three-way merges of values and drafts ([`merge`](mod@merge)) | `similar` |
//! | `patch` | no | merge patches and JSON patches on typed values ([`http::Patch`]) | `json-patch` |
//! | `file` | no | the durable store in one file ([`File`]); needs Rust 1.90 | `redb`, `crc32c` |
//! | `postgres` | no | a store on PostgreSQL ([`Postgres`]) | `tokio-postgres`, `deadpool-postgres`, `crc32c`, `tokio` |
//! | `postgres-tls` | no | encrypted connections to it | `rustls`, `tokio-postgres-rustls` |
//! | `etcd` | no | a store on etcd ([`Etcd`]); building it needs `protoc` | `etcd-client`, `crc32c`, `tokio` |
//! | `redis` | no | a store on Redis ([`Redis`]) | `redis`, `crc32c`, `tokio` |
//! | `redis-tls` | no | the same over TLS: `rediss://` URLs | `rustls` |
//! | `resource` | no | a collection as one service of tower ([`web::resource`](mod@web::resource)) | `http`, `http-body`, `bytes`, `tower-service`, `json-patch` |
//! | `idempotency` | no | answers kept by `Idempotency-Key` ([`http::Keys`]); part of `resource` | `sha2` |
//! | `tower` | no | layers in front of any service ([`web::tower`](mod@web::tower)) | `http`, `bytes`, `tower-layer`, `tower-service` |
//! | `metrics` | no | counts and times for the facade `metrics` ([`http::meter`]) | `metrics` |
//! | `tracing` | no | the same as events ([`http::trace`]) | `tracing` |
//! | `conformance` | no | the promises as tests for store authors ([`conformance`](mod@conformance)), and a history checker | `json` |

#![cfg_attr(docsrs, feature(doc_cfg))]
// The pages link to what only some features bring.
#![cfg_attr(
    not(all(
        feature = "actix",
        feature = "axum",
        feature = "conformance",
        feature = "etcd",
        feature = "file",
        feature = "json",
        feature = "merge",
        feature = "metrics",
        feature = "patch",
        feature = "postgres",
        feature = "redis",
        feature = "resource",
        feature = "tonic",
        feature = "tower",
        feature = "tracing"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

// In the order in which a reader needs them, which is also that of the front page.

// For users.
pub mod collection;
pub mod store;

pub mod codec;
pub mod layer;

#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub mod history;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub mod lease;
#[cfg(feature = "merge")]
#[cfg_attr(docsrs, doc(cfg(feature = "merge")))]
pub mod merge;
pub mod table;

pub mod http;
#[cfg(any(feature = "actix", feature = "axum", feature = "resource", feature = "tonic", feature = "tower"))]
#[cfg_attr(
    docsrs,
    doc(cfg(any(
        feature = "actix",
        feature = "axum",
        feature = "resource",
        feature = "tonic",
        feature = "tower"
    )))
)]
pub mod web;

// Stores.
mod memory;

#[cfg(any(feature = "etcd", feature = "file", feature = "postgres", feature = "redis"))]
mod backend;

#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
#[doc(inline)]
pub use backend::file;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
#[doc(inline)]
pub use backend::postgres;

#[cfg(feature = "etcd")]
#[cfg_attr(docsrs, doc(cfg(feature = "etcd")))]
#[doc(inline)]
pub use backend::etcd;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(inline)]
pub use backend::redis;

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))))]
#[doc(inline)]
pub use backend::engine;

// For those who write stores, or want to know more.
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;

pub mod docs;

mod base;

// It needs what is private here.
#[cfg(all(test, shuttle))]
#[path = "../tests/schedules/mod.rs"]
mod schedules;

// Its examples run, and every promise of its first screen with them.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
mod readme {}

// What a program types that uses a collection. Layers have their one place here.
#[cfg(feature = "etcd")]
#[cfg_attr(docsrs, doc(cfg(feature = "etcd")))]
pub use backend::etcd::Etcd;
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use backend::file::File;
#[cfg(all(fuzzing, feature = "file"))]
#[doc(hidden)]
pub use backend::file::fuzzed;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use backend::postgres::Postgres;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use backend::redis::Redis;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
#[doc(inline)]
pub use codec::Json;
#[doc(inline)]
pub use codec::Schema;
pub use codec::encoded::Encoded;
#[doc(inline)]
pub use collection::{Collection, Database, Draft, Retry, Transaction};
pub use layer::cached::Cached;
pub use layer::guarded::Guarded;
pub use layer::observed::Observed;
pub use memory::Memory;
#[doc(inline)]
pub use store::{
    Commit, Conflict, Cursor, Entry, Error, Expected, Kind, Reply, Start, Store, Version, Versioned,
    conflict_in,
};
