//! [`Member`], a collection as its database sees it: without the type of its values.

use std::any::Any;
#[cfg(feature = "json")]
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "json")]
use parking_lot::Mutex;

use crate::collection::database::along::Along;
#[cfg(feature = "json")]
use crate::collection::database::codecs::Encoding;
use crate::collection::database::database::Database;
use crate::collection::database::ground::Ground;
use crate::collection::database::guard::Guard;
#[cfg(feature = "json")]
use crate::collection::database::joint::Deciding;
use crate::collection::database::name::Name;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::collection::database::step::Exit;
use crate::store::{Commit, Error, Mismatch, Refusal};

/// What rides along with a write of this id through some handle, beside what steps add, and where it hears how that ended: see
/// [`Membership::escorted`].
#[derive(Clone)]
pub(crate) enum Escort {
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only leases guard"))]
    Guard(Arc<Guard>),
    #[cfg_attr(
        not(feature = "idempotency"),
        expect(dead_code, reason = "only keys ride along by themselves")
    )]
    By(Arc<Enter>),
}

type Enter = dyn Fn(&str, &mut Along<'_>) -> Result<Exit, Error> + Send + Sync;

impl Escort {
    pub(super) fn enter(&self, id: &str, along: &mut Along<'_>) -> Result<Exit, Error> {
        match self {
            Self::Guard(guard) => guard.ride(0, id, along).map(|()| Exit::silent()),
            Self::By(enter) => enter(id, along),
        }
    }
}

/// A collection as its database sees it: without the type of its values.
pub(super) trait Member: Send + Sync {
    fn name(&self) -> &Name;

    /// Whether commits have to pass any step.
    fn has_steps(&self) -> bool;

    /// Whether any step decides on what a commit would write over.
    fn wants_base(&self) -> bool;

    /// Whether all that those look at is its value.
    fn wants_value(&self) -> bool;

    /// Lets a part of a commit, of this collection's ids, pass all steps. Gives the exits of those that it passed, also
    /// where one refuses, and the mismatches of all that refuse it with a conflict.
    fn enter(
        &self,
        part: Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        along: &mut Along<'_>,
        exits: &mut Vec<Exit>,
    ) -> Result<Vec<Mismatch>, Error>;

    /// The same with the type that only its own views know.
    fn typed(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The mismatch of one of its full ids, as those see it who use the collection.
    fn shown(&self, mismatch: Mismatch) -> Mismatch;
}

/// Which collections only serve which other one, by their names.
#[cfg(feature = "json")]
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<Arc<str>, Box<str>>>);

/// What a [`Collection`](crate::Collection) that is one of a database knows of that.
#[derive(Clone)]
pub(crate) struct Membership {
    pub(super) ground: Arc<Ground>,
    pub(super) member: Arc<dyn Member>,
    /// Whether it has a layer that a commit over several collections would go around.
    layered: bool,
    pub(super) escorts: Vec<Escort>,
    /// Whether what rides along keeps the key of a request.
    #[cfg(feature = "idempotency")]
    keeps_key: bool,
    #[cfg(feature = "json")]
    claims: Arc<Claims>,
    #[cfg(feature = "json")]
    pub(super) deciding: Arc<Deciding>,
}

impl Membership {
    pub(super) fn new(database: &Database, member: Arc<dyn Member>) -> Self {
        Self {
            ground: Arc::clone(database.ground()),
            member,
            layered: false,
            escorts: Vec::new(),
            #[cfg(feature = "idempotency")]
            keeps_key: false,
            #[cfg(feature = "json")]
            claims: Arc::clone(database.claims()),
            #[cfg(feature = "json")]
            deciding: Arc::clone(database.deciding()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.member.name().text()
    }

    /// Makes it a collection that only serves the one of this name, as long as the database is open. Whether it does.
    #[cfg(feature = "json")]
    pub(crate) fn serve(&self, other: &str) -> bool {
        let mut claims = self.claims.0.lock();
        let served = claims.entry(Arc::clone(self.member.name().text())).or_insert_with(|| other.into());
        **served == *other
    }

    /// Whether it only serves that other one.
    #[cfg(feature = "json")]
    pub(crate) fn serves(&self, other: &Self) -> bool {
        let claims = self.claims.0.lock();
        let served = claims.get(self.name()).map(|served| &**served);
        Arc::ptr_eq(&self.ground, &other.ground) && served == Some(other.name())
    }

    /// How the collection of this name keeps its values, where it is open and the store keeps bytes.
    #[cfg(feature = "json")]
    pub(crate) fn encoding_of(&self, name: &str) -> Option<Encoding> {
        self.ground.codecs()?.encoding_of(name)
    }

    /// The same of the one that it serves.
    #[cfg(feature = "json")]
    pub(crate) fn encoding_of_served(&self) -> Option<Encoding> {
        let codecs = self.ground.codecs()?;
        let claims = self.claims.0.lock();
        codecs.encoding_of(claims.get(self.name())?)
    }

    /// The same below a layer of which the database knows nothing.
    pub(crate) fn below_a_layer(self) -> Self {
        Self { layered: true, ..self }
    }

    /// The other collection, if a commit of its may have entries of this one.
    #[cfg(feature = "json")]
    pub(crate) fn beside(&self, other: Option<&Self>) -> Result<Self, Error> {
        let member = Arc::clone(Self::within(other, &self.ground)?);
        let escorts = other.map(|other| other.escorts.clone()).unwrap_or_default();
        Ok(Self {
            member,
            escorts,
            #[cfg(feature = "idempotency")]
            keeps_key: other.is_some_and(|other| other.keeps_key),
            ..self.clone()
        })
    }

    /// The same of a handle that keeps the key of a request.
    #[cfg(feature = "idempotency")]
    pub(crate) fn keeping_key(self) -> Self {
        Self { keeps_key: true, ..self }
    }

    #[cfg(feature = "idempotency")]
    pub(crate) fn keeps_key(&self) -> bool {
        self.keeps_key
    }

    /// The same of a handle whose every write has something riding along.
    #[cfg(feature = "json")]
    pub(crate) fn escorted(mut self, escort: Escort) -> Self {
        self.escorts.push(escort);
        self
    }

    /// The collection that a commit of the database on this ground may have entries for.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where it is one of another database, or a layer would be gone around.
    pub(super) fn within<'m>(
        this: Option<&'m Self>,
        ground: &Arc<Ground>,
    ) -> Result<&'m Arc<dyn Member>, Error> {
        let refused = |name: &str, problem: &str| {
            Err(Refusal::Collection { name: name.into(), problem: problem.into() }.into())
        };
        match this {
            None => refused("", "is a whole store, and none of this database: see `Database::collection`"),
            Some(own) if !Arc::ptr_eq(&own.ground, ground) => {
                refused(own.member.name().text(), "is one of another database")
            }
            Some(own) if own.layered => refused(
                own.member.name().text(),
                "has a layer that a commit over several collections would go around: give it to `Database::define`",
            ),
            Some(own) => Ok(&own.member),
        }
    }
}
