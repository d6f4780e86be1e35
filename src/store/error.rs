//! [`Error`]: what a call can come back with instead of its answer, and what became of the write.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::store::conflict::Conflict;
use crate::store::cursor::Cursor;
use crate::store::id::{IdProblem, shortened, shown};
use crate::store::mismatch::{Kind, Mismatch};
use crate::store::version::Version;
use crate::store::write_id::WriteId;

/// What a call can come back with instead of its answer.
///
/// A write ends in one of four ways: applied (`Ok`), conflict, refused, or unknown. [`outcome`](Self::outcome) tells
/// whether anything can have been applied: it is unknown only for a [`Failure`] that says so. HTTP statuses are
/// those of the default table in [`http`](crate::http).
///
/// Not generic in the program's types: `?` works across collections. At most 48 bytes. No text of this crate shows a
/// value or a credential; the cause, where there is one, is the `source`, and speaks in the words of the store.
///
/// ```
/// use ifmatch::{Collection, Error};
/// use ifmatch::store::Outcome;
///
/// let notes = Collection::<String>::in_memory();
/// let error = notes.fetch("readme").wait().unwrap_err();
///
/// assert!(matches!(&error, Error::NotFound(missing) if missing.id() == "readme"));
/// assert_eq!(error.to_string(), "`readme` does not exist");
/// assert_eq!(error.outcome(), Outcome::NotApplied);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An expectation was not met; nothing was changed. 409 or 412; retry as [`Conflict::retry`] says.
    #[error("{}", .0.headline())]
    Conflict(#[source] Conflict),
    /// The resource that had to exist does not. 404, or 410 where it is known to be deleted; retrying can't help.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The call breaks a rule of its use or a limit; nothing was sent to the engine. Retrying can't help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Stored bytes don't decode; they stay where they are. 500; retrying can't help. Where a later release has written them
    /// ([`Corrupt::newer_schema`]), 503: an instance of that release can answer.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The feed no longer reaches back to the cursor. 410; list again and watch from a new cursor.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// The store failed. 503; [`Failure::outcome`] says whether a write can have been applied.
    #[error(transparent)]
    Failed(#[from] Failure),
}

const _: () = assert!(size_of::<Error>() <= 48);

/// Whether a write that came back as an error can have been applied.
///
/// ```
/// use ifmatch::Error;
/// use ifmatch::store::{Failure, Outcome};
///
/// let lost = Error::from(Failure::new(Outcome::Unknown, "connection reset"));
/// assert_eq!(lost.outcome(), Outcome::Unknown);
/// assert_eq!(lost.to_string(), "the store failed, and the write may have been applied");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was applied, and nothing will be.
    NotApplied,
    /// It may have been applied, or may still be. [`Store::resolve`](crate::Store::resolve) can tell later.
    Unknown,
}

impl Error {
    /// Whether the write can have been applied.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(failure) => failure.outcome(),
            Self::Refused(Refusal::Outside { .. }) => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// The same with each id as `change` names it: for layers that keep resources under other ids than they show.
    ///
    /// A cause, the [`source`](StdError::source), stays as it is.
    ///
    /// ```
    /// use ifmatch::Error;
    /// use ifmatch::store::NotFound;
    ///
    /// let inner = Error::from(NotFound::new("tenant/readme"));
    /// let outer = inner.map_ids(|id| id.trim_start_matches("tenant/").into());
    /// assert_eq!(outer.to_string(), "`readme` does not exist");
    /// ```
    #[must_use]
    pub fn map_ids(self, mut change: impl FnMut(&str) -> Box<str>) -> Self {
        match self {
            Self::Conflict(conflict) => Self::Conflict(conflict.map(|mismatch| {
                let id = change(mismatch.id());
                mismatch.with_id(&id)
            })),
            Self::NotFound(missing) => Self::NotFound(NotFound { id: change(&missing.id), ..missing }),
            Self::Refused(mut refusal) => {
                if let Some(id) = refusal.id_mut() {
                    *id = change(id);
                }
                Self::Refused(refusal)
            }
            Self::Corrupt(mut corrupt) => {
                corrupt.0.id = change(&corrupt.0.id);
                Self::Corrupt(corrupt)
            }
            other @ (Self::Expired(_) | Self::Failed(_)) => other,
        }
    }

    /// The same error, of a resource in the collection of this name: a conflict, that something was not found, or does not decode,
    /// says so then, unless it names one already.
    ///
    /// ```
    /// # use ifmatch::{Conflict, Error};
    /// let error = Error::from(Conflict::state("o7", "paid", "it is paid")).in_collection("orders");
    /// assert_eq!(error.conflict().unwrap().decisive().collection(), Some("orders"));
    /// ```
    #[must_use]
    pub fn in_collection(self, name: &str) -> Self {
        match self {
            Self::Conflict(conflict) => {
                Self::Conflict(conflict.map(|mismatch| match mismatch.collection() {
                    Some(_) => mismatch,
                    None => mismatch.in_collection(name),
                }))
            }
            Self::NotFound(missing) if missing.collection.is_none() => {
                Self::NotFound(missing.in_collection(name))
            }
            Self::Corrupt(corrupt) if corrupt.collection().is_none() => {
                Self::Corrupt(corrupt.in_collection(name))
            }
            other => other,
        }
    }

    /// The conflict, if this is one. Behind a wrapper of another type, ask [`conflict_in`].
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }
}

// By hand: thiserror's `#[from]` would make the conflict's text this error's text too.
impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

/// Finds a [`Conflict`] in an error or in what caused it, behind `Box<dyn Error>`, `anyhow` or a program's own types.
///
/// ```
/// use ifmatch::{Collection, Expected, conflict_in};
///
/// fn rename(notes: &Collection<String>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     notes.replace("readme", Expected::Present, "text".to_string()).wait()?;
///     Ok(())
/// }
///
/// let error = rename(&Collection::in_memory()).unwrap_err();
/// assert_eq!(conflict_in(&*error).unwrap().id(), "readme");
/// ```
pub fn conflict_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Conflict> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(conflict) = error.downcast_ref::<Conflict>() {
            return Some(conflict);
        }
        // The only standard wrapper whose `source` skips what it wraps.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// A resource that had to exist does not.
///
/// ```
/// # use ifmatch::store::NotFound;
/// assert_eq!(NotFound::new("readme").to_string(), "`readme` does not exist");
/// assert_eq!(NotFound::deleted("readme").to_string(), "`readme` was deleted");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    id: Box<str>,
    collection: Option<Arc<str>>,
    deleted: bool,
}

impl NotFound {
    /// As far as the store remembers, the id was never written.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), collection: None, deleted: false }
    }

    /// The id was deleted, and the store remembers that.
    pub fn deleted(id: &str) -> Self {
        Self { id: id.into(), collection: None, deleted: true }
    }

    /// The same, in the collection of this name.
    ///
    /// ```
    /// # use ifmatch::store::NotFound;
    /// assert_eq!(NotFound::new("o7").in_collection("orders").to_string(), "`o7` of `orders` does not exist");
    /// ```
    #[must_use]
    pub fn in_collection(self, name: impl Into<Arc<str>>) -> Self {
        Self { collection: Some(name.into()), ..self }
    }

    /// The name of the collection, where it is one of several.
    pub fn collection(&self) -> Option<&str> {
        self.collection.as_deref()
    }

    /// The id that was asked for.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the store remembers a deletion.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.deleted { "was deleted" } else { "does not exist" };
        write!(f, "`{}`", shown(&self.id))?;
        if let Some(collection) = &self.collection {
            write!(f, " of `{collection}`")?;
        }
        write!(f, " {what}")
    }
}

impl StdError for NotFound {}

/// Why a call was refused before anything was sent. Each is a mistake in the call or a limit; none is worth a retry
/// as it is.
///
/// ```
/// use ifmatch::{Collection, Error};
/// use ifmatch::store::Refusal;
///
/// let notes = Collection::<String>::in_memory();
/// let error = notes.create("", "text".to_string()).wait().unwrap_err();
/// assert!(matches!(error, Error::Refused(Refusal::Id { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The id cannot name a resource. 400.
    #[error("id `{}` {problem}", shown(id))]
    Id {
        /// The id as given, shortened.
        id: Box<str>,
        /// What is wrong with it.
        problem: IdProblem,
    },
    /// One commit names the same id twice. 400.
    #[error("`{}` appears twice in one commit", shown(id))]
    Duplicate {
        /// The id that repeats.
        id: Box<str>,
    },
    /// The encoded value is over the limit. 413.
    #[error("the value of `{}` has {bytes} bytes, and the limit is {limit}", shown(id))]
    TooLarge {
        /// Whose value.
        id: Box<str>,
        /// Its size in bytes.
        bytes: usize,
        /// The most the store takes, in bytes.
        limit: usize,
    },
    /// The commit has more entries than the store can apply as one. 400.
    #[error("a commit of {entries} entries, and the limit is {limit}")]
    TooMany {
        /// How many there are.
        entries: usize,
        /// How many the store takes.
        limit: usize,
    },
    /// The value cannot be encoded. 422.
    #[error("the value of `{}` cannot be encoded", shown(id))]
    Encode {
        /// Whose value.
        id: Box<str>,
        /// What the codec said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The change asks for a value that the type of the resource can't hold, or would drop a part of. 422.
    #[error("the change of `{}` does not fit: {problem}", shown(id))]
    Unfit {
        /// What was to be changed.
        id: Box<str>,
        /// What does not fit. It shows no value.
        problem: Box<str>,
    },
    /// The policy wants every write to say what it is based on, and this one did not. 428.
    #[error("a write of `{}` must say which version it is based on", shown(id))]
    ExpectationRequired {
        /// The id written to.
        id: Box<str>,
    },
    /// The condition that came with a request cannot be read, and is never taken for none. 400.
    #[error("malformed `{name}`: {problem}")]
    MalformedCondition {
        /// What the protocol calls it, as `If-Match`.
        name: &'static str,
        /// What is wrong with it. It shows nothing of what was sent.
        problem: Box<str>,
    },
    /// The request has an `Idempotency-Key`, and the call that it came to keeps none, so that the write might be applied again:
    /// [`Keys`](crate::http::Keys) keeps them. 501.
    #[error("no `Idempotency-Key` is kept of this call, so it can't be promised to apply once")]
    KeyNotKept,
    /// The `Idempotency-Key` was that of a request of the same caller that asked for something else. 422.
    #[error("the `Idempotency-Key` was that of another request: each takes a key of its own")]
    KeyReused,
    /// The policy wants a request to say which state its write is based on, and it did not. 428.
    #[error("the request must say which state it is based on: {how}")]
    ConditionRequired {
        /// How the protocol says it.
        how: &'static str,
    },
    /// The condition that came with a request can hold for no state, as something on the way changed what it names: a
    /// proxy that compresses, for instance. A new read is changed in the same way. 412.
    #[error("`{name}` of a write of `{}` was changed on the way, and matches no version", shown(id))]
    AlteredCondition {
        /// The id written to.
        id: Box<str>,
        /// What the protocol calls the condition, as `If-Match`.
        name: &'static str,
    },
    /// The condition that came with a request can hold for no state, as it names no version that a store gave. 412.
    #[error("`{name}` of a write of `{}` names no version that was ever given", shown(id))]
    ForeignCondition {
        /// The id written to.
        id: Box<str>,
        /// What the protocol calls the condition, as `If-Match`.
        name: &'static str,
    },
    /// The policy does not allow this id. 403.
    #[error("id `{}` is not allowed here", shown(id))]
    NotAllowed {
        /// The id.
        id: Box<str>,
    },
    /// A collection of a [`Database`](crate::Database) can't be had, or can't be used, like this. A mistake of the program:
    /// 500.
    #[error("collection `{}` {problem}", shown(name))]
    Collection {
        /// The name of the collection.
        name: Box<str>,
        /// What is wrong.
        problem: Box<str>,
    },
    /// The store lacks what the call needs, as its abilities say. 501.
    #[error("the store does not support {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// A page of at least one resource has to be asked for. 400.
    #[error("a page limit of 0: ask for at least one resource")]
    EmptyPage,
    /// The cursor is not one of this kind of store. 400.
    #[error("the cursor is not one that this store gave")]
    Cursor,
    /// The write id was resolved as not applied before this commit arrived, so that it may no longer be. Draw a new
    /// id for a new try. 409.
    #[error("write {write} was resolved as not applied, and is refused since: draw a new write id")]
    Closed {
        /// The write id.
        write: WriteId,
    },
    /// Another commit was applied under this write id, and this one was not: one id names one commit. 409.
    #[error("write {write} is the id of another commit that was applied: draw a new write id")]
    Reused {
        /// The write id.
        write: WriteId,
    },
    /// The write id is from outside of the history that the store remembers: from before its oldest remembered commit, or
    /// from after its newest one, as an id of another store or of a state that was lost. This sending applied nothing.
    /// Whether an earlier one did can't be told, so [`Error::outcome`] is [`Outcome::Unknown`]. 409; read, and decide. Only
    /// a commit that was never sent before may be sent again, under a new id, drawn [`after`](WriteId::after) `newest`.
    #[error(
        "write {write} is outside of what the store remembers: nothing was applied now, and whether it was before is \
         unknown"
    )]
    Outside {
        /// The write id.
        write: WriteId,
        /// The store's newest version, where it has issued one.
        newest: Option<Version>,
    },
    /// The store has issued its last version. 507.
    #[error("the store has issued its last version")]
    VersionsExhausted,
}

impl Refusal {
    /// The id that it names.
    fn id_mut(&mut self) -> Option<&mut Box<str>> {
        match self {
            Self::Id { id, .. }
            | Self::Duplicate { id }
            | Self::TooLarge { id, .. }
            | Self::Encode { id, .. }
            | Self::Unfit { id, .. }
            | Self::ExpectationRequired { id }
            | Self::AlteredCondition { id, .. }
            | Self::ForeignCondition { id, .. }
            | Self::NotAllowed { id } => Some(id),
            Self::TooMany { .. }
            | Self::MalformedCondition { .. }
            | Self::ConditionRequired { .. }
            | Self::KeyNotKept
            | Self::KeyReused
            | Self::Collection { .. }
            | Self::Unsupported { .. }
            | Self::EmptyPage
            | Self::Cursor
            | Self::Closed { .. }
            | Self::Reused { .. }
            | Self::Outside { .. }
            | Self::VersionsExhausted => None,
        }
    }
}

/// Stored bytes that do not decode. They stay as they are until a write expects exactly
/// [`version`](Self::version).
///
/// Where it is the value that does not decode, and not the store's own record of it, a write that expects
/// [`Any`](crate::Expected::Any) or [`Present`](crate::Expected::Present) overwrites or deletes it too. What is in a
/// [newer schema](Self::newer_schema) is not damaged, and no put overwrites it.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::{Collection, Error};
///
/// let bytes = Collection::<[u8]>::in_memory();
/// bytes.create("a", *b"not a number").wait()?;
///
/// let numbers = Collection::<u64>::json(bytes.store().clone());
/// let Err(Error::Corrupt(corrupt)) = numbers.fetch("a").wait() else { unreachable!() };
/// assert_eq!(corrupt.id(), "a");
/// numbers.replace("a", corrupt.version(), 7).wait()?;
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug)]
pub struct Corrupt(Box<CorruptInner>);

#[derive(Debug)]
struct CorruptInner {
    collection: Option<Arc<str>>,
    id: Box<str>,
    version: Version,
    source: Box<dyn StdError + Send + Sync>,
}

impl Corrupt {
    /// The bytes stored at `id` in `version` do not decode, and `source` says why.
    pub fn new(id: &str, version: Version, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Box::new(CorruptInner { collection: None, id: id.into(), version, source: source.into() }))
    }

    /// The same in a collection of this name.
    pub fn in_collection(mut self, name: impl Into<Arc<str>>) -> Self {
        self.0.collection = Some(name.into());
        self
    }

    /// The name of the collection, where it is one of several and that is known.
    pub fn collection(&self) -> Option<&str> {
        self.0.collection.as_deref()
    }

    /// Where the bytes are.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Their version: expect it to overwrite or delete them.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The schema that they are in, where it is newer than this release knows: a later release of the program has written them.
    /// No put through a codec that tells schemas apart overwrites them; a deletion takes them away.
    ///
    /// ```
    /// # use ifmatch::store::{Corrupt, NewerSchema};
    /// let newer = Corrupt::new("a", "7".parse()?, NewerSchema { number: 2, known: 1 });
    /// assert_eq!(newer.to_string(), "`a`, version 7, is in schema 2, and this release knows up to 1");
    /// assert_eq!(newer.newer_schema().unwrap().number, 2);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn newer_schema(&self) -> Option<NewerSchema> {
        self.0.source.downcast_ref().copied()
    }
}

/// Why stored bytes do not decode that a later release of the program has written. A [`Codec`](crate::codec::Codec) which tells
/// schemas apart fails with it, as [`Schema`](crate::Schema) does.
///
/// ```
/// use ifmatch::store::NewerSchema;
///
/// let newer = NewerSchema { number: 2, known: 1 };
/// assert_eq!(newer.to_string(), "in schema 2, and this release knows up to 1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("in schema {number}, and this release knows up to {known}")]
pub struct NewerSchema {
    /// The number of the schema that they are in.
    pub number: u32,
    /// That of the newest one which the codec reads.
    pub known: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newer = self.newer_schema();
        if newer.is_none() {
            f.write_str("the stored bytes of ")?;
        }
        write!(f, "`{}`", shown(self.id()))?;
        if let Some(collection) = self.collection() {
            write!(f, " of `{collection}`")?;
        }
        write!(f, ", version {}, ", self.version())?;
        match newer {
            Some(newer) => write!(f, "is {newer}"),
            None => f.write_str("do not decode"),
        }
    }
}

impl StdError for Corrupt {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The sentence above has all of that cause.
        self.newer_schema().is_none().then_some(&*self.0.source)
    }
}

/// The feed no longer reaches back to the cursor: changes between the two may have been missed.
///
/// Take a new cursor, list, and watch from there.
///
/// ```
/// use ifmatch::{Collection, Error, Memory, Start};
///
/// let counters = Collection::new(Memory::<u64>::new().with_feed_limit(1));
/// let mut changes = counters.watch(Start::Now).wait()?;
/// for count in 0..1_000 {
///     counters.put("visits", count).wait()?;
/// }
///
/// let Err(Error::Expired(expired)) = changes.next().wait() else { unreachable!() };
/// assert!(expired.oldest.is_some());
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the feed no longer has what came after the cursor")]
pub struct Expired {
    /// The oldest cursor the feed can still be read from, where the store has a feed.
    pub oldest: Option<Cursor>,
}

/// The store failed: an engine was unreachable, an answer was lost, a deadline passed.
///
/// ```
/// use ifmatch::store::{Failure, Outcome, WriteId};
///
/// let write = WriteId::from_bits(1);
/// let lost = Failure::new(Outcome::Unknown, "connection reset").with_write(write);
/// assert_eq!(lost.outcome(), Outcome::Unknown);
/// assert_eq!(lost.write(), Some(write));
/// ```
#[derive(Debug)]
pub struct Failure(Box<FailureInner>);

#[derive(Debug)]
struct FailureInner {
    outcome: Outcome,
    lasting: bool,
    write: Option<WriteId>,
    source: Box<dyn StdError + Send + Sync>,
}

impl Failure {
    /// A failure with what caused it. Reads and commits that were never sent are [`Outcome::NotApplied`].
    pub fn new(outcome: Outcome, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Box::new(FailureInner { outcome, lasting: false, write: None, source: source.into() }))
    }

    /// The same with the write id under which the outcome can be asked for.
    pub fn with_write(mut self, write: WriteId) -> Self {
        self.0.write = Some(write);
        self
    }

    /// The same where waiting does not mend it: somebody has to do something first. Nobody sends such a call again by
    /// himself, and a problem of [`http`](crate::http) advises against it.
    ///
    /// ```
    /// use ifmatch::store::{Failure, Outcome};
    ///
    /// assert!(Failure::new(Outcome::NotApplied, "the disk is full").lasting().is_lasting());
    /// ```
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.0.lasting = true;
        self
    }

    /// Whether waiting does not mend it.
    pub fn is_lasting(&self) -> bool {
        self.0.lasting
    }

    /// The same once it is known that nothing was applied.
    pub(crate) fn not_applied(mut self) -> Self {
        self.0.outcome = Outcome::NotApplied;
        self
    }

    /// Whether a write can have been applied.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The write id to [`resolve`](crate::Store::resolve) an unknown outcome with, if the commit carried one.
    pub fn write(&self) -> Option<WriteId> {
        self.0.write
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outcome(), self.write()) {
            (Outcome::NotApplied, _) => f.write_str("the store failed, and nothing was applied"),
            (Outcome::Unknown, None) => f.write_str("the store failed, and the write may have been applied"),
            (Outcome::Unknown, Some(write)) => {
                write!(f, "the store failed, and write {write} may have been applied")
            }
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0.source)
    }
}

/// Checks that an id can name a resource: 1 to 512 bytes without U+0000. For store authors, who may check an id only
/// when they are about to create it.
///
/// ```
/// use ifmatch::store::{check_id, MAX_ID_BYTES};
///
/// assert!(check_id(&"x".repeat(MAX_ID_BYTES)).is_ok());
/// assert!(check_id("").is_err());
/// ```
pub fn check_id(id: &str) -> Result<(), Refusal> {
    IdProblem::of(id).map_or(Ok(()), |problem| Err(Refusal::Id { id: shortened(id).into(), problem }))
}

impl NotFound {
    /// What `mismatch` says, where all it says is that the resource does not exist.
    pub(crate) fn from_mismatch(mismatch: &Mismatch) -> Option<Self> {
        let missing = match mismatch.kind() {
            Kind::Missing => Self::new(mismatch.id()),
            Kind::Deleted => Self::deleted(mismatch.id()),
            _ => return None,
        };
        Some(match mismatch.collection() {
            Some(name) => missing.in_collection(name),
            None => missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::id::MAX_ID_BYTES;
    use crate::store::version::Versioned;

    fn conflict() -> Conflict {
        let current = Versioned::<str>::new("2".parse().unwrap(), "s3cr3t");
        Conflict::state("readme", "archived", "it is archived").with_current(&current)
    }

    #[test]
    fn a_message_names_every_good_id_in_full_and_no_endless_one() {
        let [full, endless] = ["x".repeat(MAX_ID_BYTES), "\u{1b}".repeat(1 << 20)];
        let messages = |id: &str| {
            let stale = Conflict::state(id, "no", "no");
            [
                NotFound::new(id).to_string(),
                Error::from(Refusal::NotAllowed { id: id.into() }).to_string(),
                stale.to_string(),
                Error::from(stale).to_string(),
            ]
        };

        assert!(messages(&full).iter().all(|message| message.contains(&full)));
        assert!(messages(&endless).iter().all(|message| message.len() < 8 * MAX_ID_BYTES));
    }

    #[derive(Debug, thiserror::Error)]
    enum Own {
        #[error("saving failed")]
        Saving(#[source] Error),
        #[error(transparent)]
        Transparent(#[from] Error),
    }

    #[test]
    fn a_conflict_is_found_behind_every_usual_wrapper() {
        let boxed: Box<dyn StdError + Send + Sync> = Box::new(Error::from(conflict()));
        let twice: Box<dyn StdError + Send + Sync> = Box::new(std::io::Error::other(boxed));
        let wrapped: [&(dyn StdError + 'static); 5] = [
            &conflict(),
            &Error::from(conflict()),
            &Own::Saving(conflict().into()),
            &Own::Transparent(conflict().into()),
            &*twice,
        ];

        for error in wrapped {
            assert_eq!(conflict_in(error).map(Conflict::id), Some("readme"), "{error:?}");
        }
        assert!(conflict_in(&std::io::Error::other("another")).is_none());
        assert!(conflict_in(&std::io::Error::other(conflict())).is_some());
    }

    #[test]
    fn every_message_makes_sense_alone() {
        let version = "7".parse().unwrap();
        let messages = [
            (Error::from(conflict()).to_string(), "conflict on `readme`: it is archived (version 2)"),
            (NotFound::new(&"x".repeat(513)).to_string(), &*format!("`{}…` does not exist", "x".repeat(64))),
            (NotFound::deleted("a\nb").to_string(), r"`a\nb` was deleted"),
            (check_id("").unwrap_err().to_string(), "id `` is empty"),
            (check_id("a\0b").unwrap_err().to_string(), r"id `a\0b` contains a NUL character"),
            (
                Corrupt::new("a", version, "odd").to_string(),
                "the stored bytes of `a`, version 7, do not decode",
            ),
            (
                Failure::new(Outcome::Unknown, "x").with_write(WriteId::from_bits(1)).to_string(),
                "the store failed, and write 00000000000000000000000000000001 may have been applied",
            ),
        ];

        for (message, expected) in messages {
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn causes_are_sources_and_not_part_of_the_text() {
        let corrupt = Error::from(Corrupt::new("a", "7".parse().unwrap(), "odd byte"));
        let failed = Error::from(Failure::new(Outcome::NotApplied, "refused"));

        for (error, cause) in [(corrupt, "odd byte"), (failed, "refused")] {
            assert!(!error.to_string().contains(cause));
            assert_eq!(error.source().map(ToString::to_string).as_deref(), Some(cause));
        }
    }
}
