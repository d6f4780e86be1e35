//! [`Definition`], what a collection of a database is given before it is opened.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::codec::Codec;
#[cfg(feature = "json")]
use crate::codec::Json;
use crate::collection::collection::Collection;
use crate::collection::database::codecs::Codecs;
use crate::collection::database::database::{Database, refused};
use crate::collection::database::guard::Guard;
#[cfg(feature = "json")]
use crate::collection::database::guard::Tell;
use crate::collection::database::member::Membership;
use crate::collection::database::name::Name;
use crate::collection::database::rule::Rule;
use crate::collection::database::step::Step;
use crate::collection::database::view::View;
use crate::store::{Error, Resource, Store};

/// What a collection of a [`Database`] is given before it is opened, from [`Database::define`].
///
/// What is given last sees a commit first, as with the layers of a single collection. No user code runs while one is
/// opened but what is given here.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::{Cached, Database, Guarded};
///
/// let shop = Database::in_memory();
/// let orders = shop
///     .define::<String>("orders")?
///     .layer(Cached::new)
///     .layer(|store| Guarded::new(store).require_expectation())
///     .open()?;
///
/// assert!(orders.put("o7", "three apples".to_string()).wait().is_err());
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a collection is there once it is opened"]
pub struct Definition<T: Resource> {
    database: Database,
    name: Name,
    /// What reads go through: the layers so far, over a view without steps.
    reads: Arc<dyn Store<T>>,
    layered: bool,
    /// The first one given first.
    steps: Vec<Given<T>>,
    /// Whether any of them may look at more of what a commit would write over than its value.
    wants_more: bool,
    /// Why it can't be opened, where what it was given does not fit.
    fault: Option<Error>,
    /// What it takes hold of as it is opened, and why it could not. A definition may never be opened.
    claims: Vec<Claim>,
}

/// A step of a collection.
pub(super) enum Given<T: Resource> {
    Rule(Arc<Rule<T>>),
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only leases guard"))]
    Guard(Arc<Guard>),
    Step(Arc<dyn Step<T>>),
}

type Claim = Box<dyn FnOnce() -> Option<Error> + Send + Sync>;

impl<T: Resource> Definition<T> {
    pub(super) fn new(database: Database, name: Name) -> Self {
        let reads = Arc::new(View::new(&database, name.clone(), Vec::new(), false).for_reads());
        let (steps, claims) = (Vec::new(), Vec::new());
        Self { database, name, reads, layered: false, steps, wants_more: false, fault: None, claims }
    }

    /// A layer that is also a step, as [`Guarded`](crate::Guarded), [`Cached`](crate::Cached) and
    /// [`Observed`](crate::Observed) are: reads go through it as a store, commits pass it as a step.
    pub fn layer<S: Store<T> + Step<T>>(self, layer: impl FnOnce(Arc<dyn Store<T>>) -> S) -> Self {
        let layer = Arc::new(layer(self.reads));
        let mut steps = self.steps;
        steps.push(Given::Step(Arc::clone(&layer) as Arc<dyn Step<T>>));
        Self { wants_more: true, reads: layer, layered: true, steps, ..self }
    }

    /// A step that every commit passes.
    pub fn step(mut self, step: impl Step<T>) -> Self {
        self.wants_more = true;
        self.steps.push(Given::Step(Arc::new(step)));
        self
    }

    fn ruled(mut self, rule: Rule<T>) -> Self {
        self.steps.push(Given::Rule(Arc::new(rule)));
        self
    }

    /// Refuses the write of an id that is there in the other collection, unless the commit expects a version of it.
    #[cfg(feature = "json")]
    pub(crate) fn guarded_by<U: Resource>(self, other: &Collection<U>, told: Tell) -> Self {
        let mut guarded = self.beside(other);
        // One that is of no database has no place here, and refuses the opening.
        if guarded.fault.is_none() {
            guarded.steps.push(Given::Guard(Arc::new(Guard::absent(other, told))));
        }
        guarded
    }

    #[cfg(feature = "json")]
    pub(crate) fn name(&self) -> &str {
        self.name.text()
    }

    /// Where what it was given does not fit.
    #[cfg(feature = "json")]
    pub(crate) fn refused(mut self, fault: Option<Error>) -> Self {
        self.fault = self.fault.or(fault);
        self
    }

    /// What is to be done as it is opened, and refuses to open it where that fails.
    #[cfg(feature = "json")]
    pub(crate) fn claiming(mut self, claim: impl FnOnce() -> Option<Error> + Send + Sync + 'static) -> Self {
        self.claims.push(Box::new(claim));
        self
    }

    /// Where a step adds to this collection: it has to be one of the same database, and opening tells where it is not.
    #[cfg(feature = "json")]
    pub(crate) fn beside<U: Resource>(self, other: &Collection<U>) -> Self {
        let within = Membership::within(other.membership(), self.database.ground());
        self.refused(within.err())
    }

    /// A rule that every change has to keep to, whichever way it comes: puts, deletions, transactions, what rides along.
    /// `allows` is given the old value and the new one, `None` where there is none, and says whether it may be. `name` is a
    /// stable word for programs, `sentence` is for people; a change that breaks the rule is a [`Conflict`](crate::Conflict)
    /// of [`Kind::State`](crate::Kind::State) with both, HTTP status 409, and nothing is written.
    ///
    /// It is decided on what the change is applied to: a blind put cannot slip by, and one that loses a race is decided anew.
    /// So a commit that was applied and is sent again under its own write id may be refused by its rule: ask
    /// [`resolve`](Collection::resolve) first.
    ///
    /// `allows` may run more than once, and has to say the same each time. The old value that it is shown may still be on its
    /// way to the store. Where it does not get there, what was decided on it is not applied.
    ///
    /// Several rules are all asked, and a conflict names all that are broken, with whatever else the commit got wrong. It costs
    /// a read for each entry that writes, and for those that are refused a commit of checks. A value that does not decode
    /// can't be judged, and so can't be written over.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Database, Error, Expected, Kind};
    ///
    /// let shop = Database::in_memory();
    /// let paid = |order: &String| order.ends_with("paid");
    /// let orders = shop
    ///     .define::<String>("orders")?
    ///     .rule("paid-is-final", "a paid order is not changed", move |old, _new| !old.is_some_and(paid))
    ///     .open()?;
    ///
    /// orders.create("o7", "apples".to_string()).wait()?;
    /// orders.put("o7", "apples, paid".to_string()).wait()?;
    ///
    /// let Err(Error::Conflict(conflict)) = orders.delete("o7", Expected::Any).wait() else { unreachable!() };
    /// assert!(matches!(conflict.kind(), Kind::State { rule, .. } if rule == "paid-is-final"));
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn rule(
        self,
        name: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
        allows: impl Fn(Option<&T>, Option<&T>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let sentence = sentence.into();
        self.ruled(Rule::new(name.into(), move |old, new| (!allows(old, new)).then(|| sentence.clone())))
    }

    /// A [`rule`](Self::rule) by which a state changes in these ways alone. To stay in a state is allowed, and so are
    /// creations in any and deletions from any: another rule may speak of those. The sentence for people names both states
    /// by their `Debug`.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::Database;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    /// enum Stage {
    ///     Draft,
    ///     Published,
    /// }
    ///
    /// let articles = Database::in_memory()
    ///     .define::<Stage>("articles")?
    ///     .transitions("stage", |stage| *stage, [(Stage::Draft, Stage::Published)])
    ///     .open()?;
    ///
    /// articles.create("a1", Stage::Draft).wait()?;
    /// articles.put("a1", Stage::Published).wait()?;
    /// let error = articles.put("a1", Stage::Draft).wait().unwrap_err();
    /// assert!(error.conflict().unwrap().to_string().contains("it can't go from Published to Draft"));
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn transitions<S: PartialEq + fmt::Debug + Send + Sync + 'static>(
        self,
        name: impl Into<Cow<'static, str>>,
        state: impl Fn(&T) -> S + Send + Sync + 'static,
        allowed: impl IntoIterator<Item = (S, S)>,
    ) -> Self {
        self.ruled(Rule::of_transitions(name.into(), state, allowed.into_iter().collect()))
    }

    /// Opens the collection, its values as JSON where the store keeps bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where it is open already: what has been given to it can't
    /// be changed under those who use it.
    #[cfg(feature = "json")]
    pub fn open(self) -> Result<Collection<T>, Error>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.open_with(Json)
    }

    /// Opens the collection, with its values in the form of this codec where the store keeps bytes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Database, Json, Memory, Schema};
    ///
    /// let shop = Database::new(Memory::<[u8]>::new());
    /// let schema = Schema::new(1, Json, |_, _| Err("there was none before".into()));
    /// let orders = shop.define::<String>("orders")?.open_with(schema)?;
    /// orders.create("o7", "three apples".to_string()).wait()?;
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn open_with(self, codec: impl Codec<T>) -> Result<Collection<T>, Error> {
        let name = self.name.clone();
        self.open_new(|codecs| codecs.add::<T, _>(&name, codec))
    }

    /// Opens the collection in memory, for values that nothing could encode.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and where the store keeps bytes.
    ///
    /// ```
    /// use ifmatch::Database;
    ///
    /// struct Job(Box<dyn Fn() -> u32 + Send + Sync>);
    ///
    /// let office = Database::in_memory();
    /// let jobs = office.define::<Job>("jobs")?.open_in_memory()?;
    /// jobs.create("j1", Job(Box::new(|| 7))).wait()?;
    /// assert_eq!((jobs.fetch("j1").wait()?.value.0)(), 7);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn open_in_memory(self) -> Result<Collection<T>, Error> {
        match self.database.ground().codecs() {
            None => self.open_new(|_| ()),
            Some(_) => Err(refused(&self.name, "needs a codec: the store keeps bytes")),
        }
    }

    fn open_new(mut self, add_codec: impl FnOnce(&Codecs)) -> Result<Collection<T>, Error> {
        let claims = std::mem::take(&mut self.claims);
        if let Some(fault) = self.fault.take().or_else(|| claims.into_iter().find_map(|claim| claim())) {
            return Err(fault);
        }
        let (database, name) = (self.database.clone(), self.name.clone());
        // Built outside of every lock: the store's abilities are the program's code, and so are layers that are dropped.
        match database.open_once(&name, self.build(), add_codec)? {
            (collection, true) => Ok(collection),
            _ => Err(refused(&name, "is open already, and can't be given more: define it before it is used")),
        }
    }

    pub(super) fn build(self) -> Collection<T> {
        let Self { database, name, reads, layered, mut steps, wants_more, .. } = self;
        steps.reverse();
        let view = View::new(&database, name, steps, wants_more);
        let membership = Membership::new(&database, Arc::clone(view.member()));
        let view = if layered { view.read_through(reads) } else { view };
        Collection::of_database(Arc::new(view), database.retry().clone(), membership)
    }
}

impl<T: Resource> Given<T> {
    #[inline]
    pub(super) fn step(&self) -> &dyn Step<T> {
        match self {
            Self::Rule(rule) => &**rule,
            Self::Guard(guard) => &**guard,
            Self::Step(step) => &**step,
        }
    }
}

impl<T: Resource> fmt::Debug for Definition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}
