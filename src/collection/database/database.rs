//! [`Database`], several typed collections side by side in one store.

use std::any::{Any, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(feature = "json")]
use crate::codec::{Codec, Json};
use crate::collection::collection::Collection;
use crate::collection::database::codecs::Codecs;
use crate::collection::database::definition::Definition;
use crate::collection::database::ground::Ground;
use crate::collection::database::joint::{Deciding, Joint};
#[cfg(feature = "json")]
use crate::collection::database::member::Claims;
use crate::collection::database::member::{Member, Membership};
use crate::collection::database::name::Name;
use crate::collection::lines::Gated;
use crate::collection::retry::Retry;
use crate::collection::stamps::Stamps;
use crate::store::{Abilities, Error, Refusal, Reply, Resolution, Resource, Store, WriteId};

/// Several typed collections side by side in one store, and commits over them.
///
/// A collection of a database is a [`Collection`] like any other. It sees its own resources alone: the same id in another
/// collection is another resource. [`transact`](Self::transact) and [`transaction`](Self::transaction) change several as
/// one. Where every commit of a collection has to meet a rule, or to leave a trace in another one, it is
/// [defined](Self::define) so.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::{Database, Error};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, PartialEq, Serialize, Deserialize)]
/// struct Order {
///     item: String,
///     count: u32,
///     confirmed: bool,
/// }
///
/// let shop = Database::in_memory(); // or `Database::new(File::open("shop.ifmatch")?)`
/// let orders = shop.collection::<Order>("orders")?;
/// let stock = shop.collection::<u32>("stock")?;
/// stock.create("apples", 5).wait()?;
/// orders.create("o7", Order { item: "apples".to_string(), count: 3, confirmed: false }).wait()?;
///
/// shop.transact(async |mut tx| {
///     let order = tx.fetch(&orders, "o7").await?;
///     let left = tx.fetch(&stock, &order.item).await?;
///     tx.put(&stock, &order.item, left.saturating_sub(order.count));
///     tx.put(&orders, "o7", Order { confirmed: true, ..Order::clone(&order) });
///     Ok::<_, Error>((tx, ()))
/// })
/// .wait()?;
///
/// assert_eq!(*stock.fetch("apples").wait()?.value, 2);
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
///
/// # In the store
///
/// A resource lies under its *full id*: the name of its collection, a slash, and its id. A name has no slash, so an id may
/// look like anything. Ids have at most 512 bytes less those of the name and the slash, which is never less than 447.
/// Names are 1 to 64 letters and digits of ASCII, `_`, `-` and `.`. No error, feed or hook of a collection shows a full id;
/// what a layer below the database sees, does.
///
/// The store is the database's alone. What others have put there under ids with no slash, or under names that are not
/// opened, is left alone and never seen. Who writes to it through another `Database`, in this process or another, keeps to
/// the steps that were given there, and not to those given here.
///
/// # Cost
///
/// In memory nothing is encoded, and a call costs the putting together of its full id. Over a store of bytes it is one
/// call of that store, with its values encoded.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
    retry: Retry,
    deciding: Arc<Deciding>,
}

struct Shared {
    ground: Arc<Ground>,
    /// The collections that were opened, each with its type forgotten.
    open: Mutex<HashMap<Arc<str>, Open>>,
    #[cfg(feature = "json")]
    claims: Arc<Claims>,
    stamps: Stamps,
}

struct Open {
    handle: Box<dyn Any + Send + Sync>,
    type_name: &'static str,
    member: Arc<dyn Member>,
    line: Arc<dyn Gated>,
}

impl Database {
    /// The collections that are kept in this store.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Database, Memory};
    ///
    /// let shop = Database::new(Memory::<[u8]>::new());
    /// let orders = shop.collection::<String>("orders")?;
    /// # orders.create("o7", "three apples".to_string()).wait()?;
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(store: impl Store<[u8]>) -> Self {
        Self::on(Ground::over(store))
    }

    /// Collections in memory, empty at first. Nothing is encoded.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// let shop = ifmatch::Database::in_memory();
    /// assert!(shop.collection::<String>("orders")?.get("o7").wait()?.is_none());
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn in_memory() -> Self {
        Self::on(Ground::in_memory())
    }

    fn on(ground: Ground) -> Self {
        let stamps = Stamps::new(&ground.abilities());
        let shared = Shared {
            ground: Arc::new(ground),
            open: Mutex::default(),
            #[cfg(feature = "json")]
            claims: Arc::default(),
            stamps,
        };
        let retry = Retry::default();
        let deciding = Arc::new(Deciding::new(retry.clone(), &shared.ground.abilities()));
        Self { shared: Arc::new(shared), deciding, retry }
    }

    /// The same database with other limits for trying again: for its transactions, and for the collections that are opened
    /// first through this handle.
    ///
    /// ```
    /// use ifmatch::{Database, Retry};
    ///
    /// let shop = Database::in_memory().with_retry(Retry::default().attempts(3));
    /// # assert_eq!(shop.abilities().window, 100_000);
    /// ```
    pub fn with_retry(self, retry: Retry) -> Self {
        let deciding = Arc::new(Deciding::new(retry.clone(), &self.abilities()));
        Self { deciding, retry, ..self }
    }

    /// The collection of this name, its values as JSON where the store keeps bytes. Asked for again, it is the same one: with
    /// the same line for hot ids, and all that it was [defined](Self::define) with.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where the name can't be one, and where the collection is open with values of another type.
    ///
    /// ```
    /// use ifmatch::Database;
    ///
    /// let shop = Database::in_memory();
    /// let orders = shop.collection::<String>("orders")?;
    /// # orders.create("o7", "three apples".to_string()).wait()?;
    ///
    /// let error = shop.collection::<u64>("orders").unwrap_err();
    /// assert_eq!(error.to_string(), "collection `orders` is open with values of `alloc::string::String`, not `u64`");
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn collection<T>(&self, name: &str) -> Result<Collection<T>, Error>
    where
        T: Resource + serde::Serialize + serde::de::DeserializeOwned,
    {
        self.collection_with(name, Json)
    }

    /// The same with its values in the form of another codec, where it is not open already.
    #[cfg(feature = "json")]
    pub(crate) fn collection_with<T: Resource>(
        &self,
        name: &str,
        codec: impl Codec<T>,
    ) -> Result<Collection<T>, Error> {
        let name = Name::new(name)?;
        if let Some(open) = self.opened(&name)? {
            return Ok(open);
        }
        let collection = Definition::new(self.clone(), name.clone()).build();
        Ok(self.open_once(&name, collection, |codecs| codecs.add(&name, codec))?.0)
    }

    /// A collection that is more than its values: what it is given here, every commit passes from then on, whichever way it
    /// comes. To be called before anybody asks for the [`collection`](Self::collection).
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where the name can't be one.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Database, Guarded};
    ///
    /// let shop = Database::in_memory();
    /// let orders = shop
    ///     .define::<String>("orders")?
    ///     .layer(|store| Guarded::new(store).max_bytes(100, |order| order.len()))
    ///     .open()?;
    ///
    /// assert!(orders.create("o7", "apples".repeat(100)).wait().is_err());
    ///
    /// let mut past = shop.transaction();
    /// past.put(&shop.collection::<String>("orders")?, "o7", "apples".repeat(100));
    /// assert!(past.commit().wait().is_err());
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn define<T: Resource>(&self, name: &str) -> Result<Definition<T>, Error> {
        Ok(Definition::new(self.clone(), Name::new(name)?))
    }

    /// What the store can do.
    ///
    /// ```
    /// assert!(ifmatch::Database::in_memory().abilities().watch);
    /// ```
    pub fn abilities(&self) -> Abilities {
        self.shared.ground.abilities()
    }

    /// What became of a commit whose outcome was unknown; as [`Collection::resolve`], for a commit over several
    /// collections.
    ///
    /// ```
    /// use ifmatch::Database;
    /// use ifmatch::store::{Resolution, WriteId};
    ///
    /// let resolution = Database::in_memory().resolve(WriteId::after(None)).wait()?;
    /// assert_eq!(resolution, Resolution::NotApplied);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn resolve(&self, write: WriteId) -> Reply<'_, Resolution> {
        self.shared.ground.resolve(write)
    }

    pub(super) fn ground(&self) -> &Arc<Ground> {
        &self.shared.ground
    }

    #[cfg(feature = "json")]
    pub(super) fn claims(&self) -> &Arc<Claims> {
        &self.shared.claims
    }

    pub(super) fn deciding(&self) -> &Arc<Deciding> {
        &self.deciding
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(super) fn stamps(&self) -> &Stamps {
        &self.shared.stamps
    }

    /// The collection that is open under this name.
    #[cfg(feature = "json")]
    fn opened<T: Resource>(&self, name: &Name) -> Result<Option<Collection<T>>, Error> {
        self.shared.open.lock().get(&**name.text()).map(|found| found.handle(name)).transpose()
    }

    /// The collection that is open under this name, or else this one from now on: then its codec is added too, and the answer
    /// is `true`.
    pub(super) fn open_once<T: Resource>(
        &self,
        name: &Name,
        collection: Collection<T>,
        add_codec: impl FnOnce(&Codecs),
    ) -> Result<(Collection<T>, bool), Error> {
        let opened = Open {
            handle: Box::new(collection.clone()),
            type_name: type_name::<T>(),
            member: Arc::clone(Membership::within(collection.membership(), self.ground())?),
            line: Arc::new(collection.clone()),
        };
        let mut open = self.shared.open.lock();
        if let Some(found) = open.get(&**name.text()) {
            return Ok((found.handle(name)?, false));
        }
        if let Some(codecs) = self.ground().codecs() {
            add_codec(codecs);
        }
        open.insert(Arc::clone(name.text()), opened);
        Ok((collection, true))
    }

    /// The store below, for commits over the collections of these full ids.
    pub(super) fn joint<'a>(&self, full_ids: impl Iterator<Item = &'a str>) -> Joint {
        let open = self.shared.open.lock();
        let mut members: Vec<Arc<dyn Member>> = Vec::new();
        for full_id in full_ids {
            if members.iter().all(|member| member.name().id_of(full_id).is_none()) {
                members.extend(open.get(Name::of_full(full_id)).map(|open| Arc::clone(&open.member)));
            }
        }
        Joint {
            ground: Arc::clone(self.ground()),
            members,
            escorts: Vec::new(),
            deciding: Arc::clone(&self.deciding),
        }
    }

    /// The line for hot ids of a collection.
    pub(super) fn line(&self, collection: &str) -> Option<(Arc<str>, Arc<dyn Gated>)> {
        let open = self.shared.open.lock();
        open.get_key_value(collection).map(|(name, open)| (Arc::clone(name), Arc::clone(&open.line)))
    }
}

impl Open {
    fn handle<T: Resource>(&self, name: &Name) -> Result<Collection<T>, Error> {
        self.handle.downcast_ref().cloned().ok_or_else(|| {
            let (held, asked) = (self.type_name, type_name::<T>());
            refused(name, format!("is open with values of `{held}`, not `{asked}`"))
        })
    }
}

/// A collection that can't be had so.
pub(super) fn refused(name: &Name, problem: impl Into<Box<str>>) -> Error {
    Refusal::Collection { name: (&**name.text()).into(), problem: problem.into() }.into()
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Vec<Arc<str>> = self.shared.open.lock().keys().cloned().collect();
        open.sort_unstable();
        f.debug_struct("Database").field("open", &open).finish_non_exhaustive()
    }
}
