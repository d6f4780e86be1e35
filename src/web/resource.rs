//! A collection as one service: all verbs, lists in pages, patches and a stream of changes. Feature `resource`.
//!
//! ```
//! use axum::Router;
//! use ifmatch::Collection;
//! use ifmatch::web::resource;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, PartialEq, Serialize, Deserialize)]
//! struct Article {
//!     title: String,
//!     text: String,
//! }
//!
//! let articles = Collection::<Article>::in_memory();
//! let app: Router = Router::new().nest_service("/articles", resource("/articles", articles));
//! ```
//!
//! The path is said twice, as axum takes it off before the service sees the request: the second one is that of the whole
//! service, as its clients write it, behind all nests. `Location` and the links in answers begin with it.
//!
//! [`Routes`] is a service of `tower` over the types of `http`: it brings neither axum nor tokio, and wherever such a service
//! is taken it can be mounted, with a path from which the beginning was taken off.
//!
//! # What it answers
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a page: `{"items":[{"id":…,"etag":…,"value":…}],"next":…}`, and a `Link` to the next one. `?limit=`, `?after=` (an id), `?prefix=`, and `?only=ids` for a page without values |
//! | `GET /` with `Accept: text/event-stream` and nothing else | the changes, as they come; see below |
//! | `POST /` | 201 with `Location`: a new resource, under the id that `?id=` or [`name`](Routes::name) gives, or one that is drawn; 409 where it is taken |
//! | `POST /?resolve=` with the `write_id` of a 503 | what became of that write: `{"outcome":"applied","etag":…}`, `not-applied` (and it never will be), or `unknown`. The `etag` only where it created, or `If-Match` names the state that it replaced |
//! | `GET /{id}` | 200, or 304 |
//! | `PUT /{id}` | 200, or 201 where there was nothing; [merged](Routes::merging) where it asks for that |
//! | `PATCH /{id}` | 200, by a [`Patch`](crate::http::Patch) of either type |
//! | `DELETE /{id}` | 204 |
//! | `HEAD`, `OPTIONS` | as `GET` without a body; `Allow` and `Accept-Patch` |
//!
//! All else is a [`Problem`], as 405 with `Allow`. The preconditions hold as [`http`](crate::http) has them, and a write without
//! any is refused with 428, unless [`terms`](Routes::terms) say otherwise. `Prefer: return=minimal` (RFC 7240) spares the body of what
//! was written; a `PATCH` is answered without its `ETag` then, unless `If-Match` names the one state that it is applied to: the
//! client has not seen what came of it, and reads. A write with an `Idempotency-Key` is refused, unless its answer is
//! [kept](Routes::idempotent).
//!
//! # Changes
//!
//! One event a commit, for an `EventSource` or any other reader of `text/event-stream`:
//!
//! | event | data |
//! |---|---|
//! | `start` | `{}`: from here on nothing is left out. Who lists after it, and then reads on, misses nothing |
//! | `changes` | all that one commit changed: `[{"id":…,"kind":"put","etag":…,"value":…}]`. A `delete` has no value, nor has a `put` that was written over since |
//! | `expired` | the problem. **There is a gap**: the client was away, or slow, for longer than the store remembers. It lists again; the stream goes on from here |
//! | `failed` | the problem, after which the stream ends |
//!
//! The `id` of each is the place in the feed. A client that comes again with it as `Last-Event-ID`, as browsers do by themselves, goes on
//! right behind it; where the store lasts, also after a restart of the service.
//!
//! # Pages of other origins
//!
//! A browser shows a page of another origin no `ETag`, and sends none of its `If-Match`, unless a layer in front says so. With that of
//! `tower-http`: `CorsLayer::new().expose_headers([ETAG, LOCATION, LINK, RETRY_AFTER]).allow_headers([CONTENT_TYPE, IF_MATCH,
//! IF_NONE_MATCH, "prefer", "last-event-id"])`, and the methods and origins of your choice. Where it keeps keys,
//! `"idempotency-key"` is allowed too; where it merges, `"merge-base"` is, and `"merged"` exposed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::collection::Collection;
#[cfg(feature = "merge")]
use crate::history::History;
use crate::http::{Expose, Keys, Problem, Terms};
#[cfg(feature = "merge")]
use crate::merge::Merge;
use crate::store::{Error, Resource};

mod answering;
mod body;
mod call;
mod events;
mod list;
mod path;

pub use body::Body;
pub use call::Call;

/// The service of a collection, at this path as clients write it: see [`resource`](mod@crate::web::resource).
///
/// ```
/// use axum::Router;
/// use ifmatch::Collection;
/// use ifmatch::web::resource;
///
/// let notes = resource("/api/notes", Collection::<String>::in_memory());
/// let api: Router = Router::new().nest_service("/notes", notes);
/// let app = Router::new().nest("/api", api);
/// # let _: Router = app;
/// ```
pub fn resource<T: Resource>(path: &str, collection: Collection<T>) -> Routes<T> {
    Routes(Arc::new(Settings {
        collection,
        base: path.trim_end_matches('/').into(),
        terms: Terms::new().required(),
        largest_body: 1024 * 1024,
        longest_page: 100,
        largest_page: 4 * 1024 * 1024,
        exact_etags: false,
        expose: Expose::default(),
        pause: Duration::from_secs(15),
        allow: None,
        check: None,
        name: None,
        modified: None,
        once: None,
        #[cfg(feature = "merge")]
        merging: None,
    }))
}

/// A collection as a service, and how it is to behave. From [`resource`](fn@resource); cloning it is cheap.
///
/// ```
/// use ifmatch::Collection;
/// use ifmatch::http::Expose;
/// use ifmatch::web::resource;
///
/// let notes = resource("/notes", Collection::<String>::in_memory()).largest_body(64 * 1024).expose(Expose::Full);
/// ```
#[must_use = "it answers nothing until it is mounted"]
pub struct Routes<T: Resource>(Arc<Settings<T>>);

/// What is asked before anything is done.
type Allow = Arc<dyn Fn(&Call<'_>) -> Result<(), Problem> + Send + Sync>;
/// What looks at a value before it is written.
type Check<T> = Arc<dyn Fn(&str, &T) -> Result<(), Problem> + Send + Sync>;
/// What takes the id of a new resource from its value.
type Name<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;

/// What takes the time of the last change from a value.
type Modified<T> = Arc<dyn Fn(&T) -> SystemTime + Send + Sync>;

/// Where the answers to writes with a key are kept, and who such a write is from.
type Once = (Keys, Arc<dyn Fn(&Call<'_>) -> String + Send + Sync>);

struct Settings<T: Resource> {
    collection: Collection<T>,
    base: Box<str>,
    terms: Terms,
    largest_body: usize,
    longest_page: usize,
    largest_page: usize,
    exact_etags: bool,
    expose: Expose,
    pause: Duration,
    allow: Option<Allow>,
    check: Option<Check<T>>,
    name: Option<Name<T>>,
    modified: Option<Modified<T>>,
    once: Option<Once>,
    #[cfg(feature = "merge")]
    merging: Option<(Merge, History<T>)>,
}

impl<T: Resource> Routes<T> {
    /// On these terms. Default: a write must say what it is based on, else 428. [`Terms`] in the extensions of a request may
    /// require more, and compare tags leniently, and take nothing away.
    ///
    /// ```
    /// # use ifmatch::{Collection, http::Terms, web::resource};
    /// let blind = resource("/notes", Collection::<String>::in_memory()).terms(Terms::new());
    /// ```
    pub fn terms(self, terms: Terms) -> Self {
        self.with(|settings| settings.terms = terms)
    }

    /// Asks before each request, but for `OPTIONS`, whether its caller may do that; the problem is the answer. Nothing was read
    /// by then, neither body nor store. [`Call`] has an example.
    ///
    /// What a caller may list or watch it sees in full.
    pub fn allow(self, allow: impl Fn(&Call<'_>) -> Result<(), Problem> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.allow = Some(Arc::new(allow)))
    }

    /// Looks at each value before it is written, by its id, whether it was put, created or patched; the problem is the answer,
    /// and nothing is written. A check of a patched value runs again with the patch, after a lost race.
    ///
    /// ```
    /// use ifmatch::http::Problem;
    /// use ifmatch::{Collection, web::resource};
    ///
    /// let named = |_: &str, note: &String| match note.is_empty() {
    ///     false => Ok(()),
    ///     true => Err(Problem::of(422, "empty", "a note has some text")),
    /// };
    /// let notes = resource("/notes", Collection::<String>::in_memory()).check(named);
    /// ```
    pub fn check(self, check: impl Fn(&str, &T) -> Result<(), Problem> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.check = Some(Arc::new(check)))
    }

    /// The id of a resource that is created without one comes from its value. Default: 32 random digits.
    ///
    /// ```
    /// # use ifmatch::{Collection, web::resource};
    /// let words = resource("/words", Collection::<String>::in_memory()).name(|word| word.to_lowercase());
    /// ```
    pub fn name(self, name: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.name = Some(Arc::new(name)))
    }

    /// How much an error tells: with [`Expose::Full`] a conflict is answered with the value that won; with
    /// [`Expose::Nothing`] the answer to a write has no value either. Whoever may patch can still learn by a `test` what a
    /// value is. Default: [`Expose::Version`].
    ///
    /// ```
    /// # use ifmatch::{Collection, http::Expose, web::resource};
    /// let open = resource("/notes", Collection::<String>::in_memory()).expose(Expose::Full);
    /// ```
    pub fn expose(self, level: Expose) -> Self {
        self.with(|settings| settings.expose = level)
    }

    /// The longest body of a request, in bytes, and the longest value that a patch may make; 413 above. Default: 1 MiB. A limit
    /// of the router in front holds too.
    ///
    /// ```
    /// # use ifmatch::{Collection, web::resource};
    /// let short = resource("/notes", Collection::<String>::in_memory()).largest_body(1024);
    /// ```
    pub fn largest_body(self, bytes: usize) -> Self {
        self.with(|settings| settings.largest_body = bytes)
    }

    /// The longest page of a list, which is also that of a client which asks for none. Default: 100.
    ///
    /// ```
    /// # use ifmatch::{Collection, web::resource};
    /// let few = resource("/notes", Collection::<String>::in_memory()).longest_page(20);
    /// ```
    pub fn longest_page(self, resources: usize) -> Self {
        self.with(|settings| settings.longest_page = resources.max(1))
    }

    /// The largest page of a list, in bytes of JSON: a page ends before the value that would make it larger, and has one value at
    /// least. Default: 4 MiB.
    ///
    /// ```
    /// # use ifmatch::{Collection, web::resource};
    /// let light = resource("/notes", Collection::<String>::in_memory()).largest_page(64 * 1024);
    /// ```
    pub fn largest_page(self, bytes: usize) -> Self {
        self.with(|settings| settings.largest_page = bytes)
    }

    /// The answer to a `PUT` has an `ETag` only where the value is written byte for byte as it was sent. By RFC 9110 §9.3.4 the tag
    /// tells the client that its own copy is the state of that tag, which one with other white space, or a member that was
    /// left out, is not. Nor has it a `Last-Modified` then. Without this the answer has a tag, and shows the value that
    /// it is of unless the client prefers none.
    ///
    /// ```
    /// # use ifmatch::{Collection, web::resource};
    /// let exact = resource("/notes", Collection::<String>::in_memory()).exact_etags();
    /// ```
    pub fn exact_etags(self) -> Self {
        self.with(|settings| settings.exact_etags = true)
    }

    /// When a value was changed last, for values that know it: `Last-Modified` and `If-Modified-Since`, by the rules of
    /// [`Answer::modified`](crate::http::Answer::modified), and with `Cache-Control: no-cache`.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use ifmatch::{Collection, web::resource};
    /// let times = resource("/times", Collection::<SystemTime>::in_memory()).modified(|time| *time);
    /// ```
    pub fn modified(self, at: impl Fn(&T) -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.modified = Some(Arc::new(at)))
    }

    /// A `PUT` that asks for it, by `Merge-Base` with the tag that its value was made of and without a precondition, is merged with
    /// what others made of that; see [`merge_if`](Collection::merge_if). The answer to a merge shows the value whatever the client
    /// prefers, and where nothing is exposed it has no `ETag`: no client can go on from its own value under the new tag by
    /// chance. With [`Expose::Full`] an overlap is answered with what there was and what both made of it. So who may write reads what
    /// others wrote, and with `Expose::Full` also what they wrote before, as far as the history keeps it:
    /// [`History::forget`] what nobody may see. [`Require`](crate::web::tower::Require) in front lets it pass where it is told
    /// [`Basis::Merging`](crate::web::tower::Basis::Merging). Without this such
    /// a `PUT` is refused with 400. Feature `merge`.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use ifmatch::history::History;
    /// use ifmatch::merge::{Merge, Strategy};
    /// use ifmatch::{Database, web::resource};
    ///
    /// let office = Database::in_memory();
    /// let history = History::new(&office, "notes.history")?;
    /// let notes = office.define::<BTreeMap<String, String>>("notes")?.recorded(&history).open()?;
    /// let notes = resource("/notes", notes).merging(Merge::new().at("/text", Strategy::Lines), &history);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[cfg(feature = "merge")]
    #[cfg_attr(docsrs, doc(cfg(feature = "merge")))]
    pub fn merging(self, merge: Merge, history: &History<T>) -> Self {
        self.with(|settings| settings.merging = Some((merge, history.clone())))
    }

    /// A write with an `Idempotency-Key` is applied once, however often it is sent, and each time gets the answer of the first: see
    /// [`Keys`]. The scope of a key is what `caller` says the request is from, as the name of its user, and its method and path;
    /// query, `Content-Type` and body have to be the same each time, else 422. An `If-Match` need not be, and is not judged
    /// again. With one word for all, whoever learns a key is told its answer, and all share the [number](Keys::keeping_each)
    /// that is kept of one. So whom nobody knows is refused before, by [`allow`](Self::allow). Without this a write with a key
    /// is refused with 501.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the keys and the collection are not of the same database.
    ///
    /// ```
    /// use ifmatch::http::{Keys, Problem};
    /// use ifmatch::web::resource::{Call, resource};
    /// use ifmatch::Database;
    ///
    /// /// Put there by a layer in front, which knows who it is.
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// fn user(call: &Call<'_>) -> Option<String> {
    ///     call.extensions().get::<User>().map(|user| user.0.clone())
    /// }
    ///
    /// let office = Database::in_memory();
    /// let keys = Keys::new(&office, "keys")?;
    /// let notes = resource("/notes", office.collection::<String>("notes")?)
    ///     .allow(|call| user(call).map(drop).ok_or_else(|| Problem::of_status(401)))
    ///     .idempotent(&keys, |call| user(call).expect("nobody else is let in"))?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn idempotent(
        self,
        keys: &Keys,
        caller: impl Fn(&Call<'_>) -> String + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        keys.check_beside(&self.0.collection)?;
        Ok(self.with(|settings| settings.once = Some((keys.clone(), Arc::new(caller)))))
    }

    /// How long a stream of changes is silent at most: then it gives a sign of life, by which proxies keep it open, and by which it
    /// is noticed that a client went away. Default: 15 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::{Collection, web::resource};
    /// let lively = resource("/notes", Collection::<String>::in_memory()).pause(Duration::from_secs(5));
    /// ```
    pub fn pause(self, pause: Duration) -> Self {
        self.with(|settings| settings.pause = pause)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings<T>)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

// Hand-written, as the next one: the derived impls would ask for values that can be cloned.
impl<T: Resource> Clone for Routes<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Resource> Clone for Settings<T> {
    fn clone(&self) -> Self {
        let Self { terms, largest_body, longest_page, largest_page, exact_etags, expose, pause, .. } = *self;
        Self {
            collection: self.collection.clone(),
            base: self.base.clone(),
            terms,
            largest_body,
            longest_page,
            largest_page,
            exact_etags,
            expose,
            pause,
            allow: self.allow.clone(),
            check: self.check.clone(),
            name: self.name.clone(),
            modified: self.modified.clone(),
            once: self.once.clone(),
            #[cfg(feature = "merge")]
            merging: self.merging.clone(),
        }
    }
}

impl<T: Resource> fmt::Debug for Routes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("base", &self.0.base).finish_non_exhaustive()
    }
}
