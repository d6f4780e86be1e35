//! [`Record`], what it takes to answer a request again.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, Json};
use crate::http::answer::Answer;
use crate::http::keys::request::KeyedRequest;
use crate::store::{Action, Corrupt, Entry, Error, Expected, Refusal, Resource, Version, Versioned};

/// What it takes to answer a request again.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    fingerprint: String,
    did: Did,
    /// Of the resource that was written.
    id: Box<str>,
    /// The value of the answer as the text of its JSON: so no limit of depth counts it.
    value: Option<String>,
    /// Its version. `None` where it is that of the record, as both were written by one commit.
    version: Option<Version>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Did {
    Created,
    Changed,
    Merged,
    Deleted,
    /// What a transaction did, whose answer is the program's own.
    Committed,
}

impl Record {
    /// That of a write which is about to be committed. `None` where it can't be told whether it creates.
    pub(super) fn of_entry<T: Serialize + DeserializeOwned>(
        request: &KeyedRequest,
        entry: &Entry<'_, T>,
    ) -> Result<Option<Self>, Error> {
        let did = match (&entry.action, entry.condition.expected) {
            (Action::Delete, _) => Did::Deleted,
            (_, Expected::Any) => return Ok(None),
            (_, Expected::Absent) => Did::Created,
            (_, Expected::Version(version)) if request.merge_base.is_some_and(|base| base != version) => {
                Did::Merged
            }
            (_, Expected::Version(_) | Expected::Present) => Did::Changed,
        };
        let value = match &entry.action {
            Action::Put(value) => Some(text(entry.id, &**value)?),
            _ => None,
        };
        let fingerprint = request.fingerprint.clone();
        Ok(Some(Self { fingerprint, did, id: entry.id.into(), value, version: None }))
    }

    /// That of an answer for which nothing was written.
    pub(super) fn of_answer<T: Serialize + DeserializeOwned>(
        request: &KeyedRequest,
        answer: &Answer<T>,
    ) -> Result<Self, Error> {
        let (value, version) = match answer.now() {
            Some(now) => (Some(text(&request.id, &*now.value)?), Some(now.version)),
            None => (None, None),
        };
        let did = match value {
            None => Did::Deleted,
            Some(_) if answer.is_created() => Did::Created,
            Some(_) if is_merged(answer) => Did::Merged,
            Some(_) => Did::Changed,
        };
        let (fingerprint, id) = (request.fingerprint.clone(), answer.id().unwrap_or_default().into());
        Ok(Self { fingerprint, did, id, value, version })
    }

    /// That of a transaction, with the answer of the program's own.
    pub(super) fn of_transaction<A: Serialize + DeserializeOwned>(
        request: &KeyedRequest,
        answer: &A,
    ) -> Result<Self, Error> {
        let (fingerprint, value) = (request.fingerprint.clone(), Some(text(&request.id, answer)?));
        Ok(Self { fingerprint, did: Did::Committed, id: "".into(), value, version: None })
    }

    /// Whether the same was asked for.
    pub(super) fn check(&self, request: &KeyedRequest) -> Result<(), Error> {
        match self.fingerprint == request.fingerprint {
            true => Ok(()),
            false => Err(Refusal::KeyReused.into()),
        }
    }

    /// The answer again, by the version of the record.
    ///
    /// # Errors
    ///
    /// [`Refusal::KeyReused`] where it is that of a transaction, and those of [`value`](Self::value).
    pub(super) fn answer<T>(&self, request: &KeyedRequest, recorded: Version) -> Result<Answer<T>, Error>
    where
        T: Resource + Serialize + DeserializeOwned,
    {
        let version = self.version.unwrap_or(recorded);
        let value = || Ok::<_, Error>(Versioned::new(version, self.value::<T>(request, recorded)?));
        let answer = match self.did {
            Did::Created => Answer::created(&self.id, value()?),
            Did::Changed => Answer::changed(value()?),
            Did::Merged => merged(&self.id, value()?),
            Did::Deleted => Answer::deleted(),
            Did::Committed => return Err(Refusal::KeyReused.into()),
        };
        Ok(answer.replayed())
    }

    /// The value of the answer.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] of the record: what it was kept of may be as good as ever.
    pub(super) fn value<A: Serialize + DeserializeOwned>(
        &self,
        request: &KeyedRequest,
        recorded: Version,
    ) -> Result<A, Error> {
        let text = self.value.as_deref().unwrap_or("null");
        Json.decode(text.as_bytes()).map_err(|fault| Corrupt::new(&request.id, recorded, fault).into())
    }
}

#[cfg(feature = "merge")]
fn merged<T: ?Sized>(id: &str, now: Versioned<T>) -> Answer<T> {
    Answer::merged(id, now)
}

/// Nothing is merged without the feature; a record of a program that had it is answered with what there is to tell.
#[cfg(not(feature = "merge"))]
fn merged<T: ?Sized>(_: &str, now: Versioned<T>) -> Answer<T> {
    Answer::changed(now)
}

#[cfg(feature = "merge")]
fn is_merged<T: ?Sized>(answer: &Answer<T>) -> bool {
    answer.is_merged()
}

#[cfg(not(feature = "merge"))]
fn is_merged<T: ?Sized>(_: &Answer<T>) -> bool {
    false
}

/// The value as JSON that reads back as it.
fn text<T: Serialize + DeserializeOwned>(id: &str, value: &T) -> Result<String, Error> {
    let unfaithful = |source| Refusal::Encode { id: id.into(), source };
    let text = Json.encode(value).map_err(unfaithful)?;
    Ok(String::from_utf8(text).map_err(|error| unfaithful(error.into()))?)
}

// Hand-written: the derived impl would print the user's value.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("did", &self.did).finish_non_exhaustive()
    }
}
