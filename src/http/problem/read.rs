//! What a [`Problem`] says, for the program.

use std::time::Duration;

use super::Problem;
#[cfg(feature = "tonic")]
use super::body::word_of;
use crate::http::cause::Cause;
use crate::http::etag::EntityTag;
#[cfg(feature = "tonic")]
use crate::http::facts::FailedId;
use crate::store::{Advice, Version, WriteId};

impl Problem {
    /// The error it was made of; `None` for a problem of the program's [own](Self::of).
    pub fn cause(&self) -> Option<&Cause> {
        self.0.cause.as_ref()
    }

    /// The HTTP status: 400 to 599.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The machine-readable word.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The URI of its kind, `type` in the body.
    pub fn type_uri(&self) -> &str {
        &self.0.r#type
    }

    /// The phrase of the status.
    pub fn title(&self) -> &'static str {
        self.0.title
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The URI of this occurrence.
    pub fn instance(&self) -> Option<&str> {
        self.0.instance.as_deref()
    }

    /// What the caller can do about it.
    pub fn retry(&self) -> Advice {
        self.0.retry
    }

    /// How long the caller should wait, where waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The collection of a [`Database`](crate::Database) that the resource is in.
    pub fn collection(&self) -> Option<&str> {
        self.0.facts.collection.as_deref()
    }

    /// The id of the resource it is about.
    pub fn resource_id(&self) -> Option<&str> {
        self.0.facts.resource_id.as_deref()
    }

    /// The URL of the resource it is about, after [`at`](Self::at).
    pub fn resource_url(&self) -> Option<&str> {
        self.0.facts.resource_url.as_deref()
    }

    /// The version that was expected and not found.
    pub fn expected_version(&self) -> Option<Version> {
        self.0.facts.expected_version
    }

    /// The version of the value that is there.
    pub fn current_version(&self) -> Option<Version> {
        self.0.facts.current_version
    }

    /// The entity tag of the value that is there.
    pub fn current_etag(&self) -> Option<EntityTag> {
        self.current_version().map(EntityTag::from)
    }

    /// The rule of the program that refused.
    pub fn rule(&self) -> Option<&str> {
        self.0.facts.rule.as_deref()
    }

    /// Who holds the locked resource.
    pub fn holder(&self) -> Option<&str> {
        self.0.facts.holder.as_deref()
    }

    /// What to resolve an unknown outcome by.
    pub fn write_id(&self) -> Option<WriteId> {
        self.0.write_id
    }

    /// What both sides of a merge changed.
    pub fn conflicting_paths(&self) -> impl Iterator<Item = &str> {
        self.0.conflicting_paths.iter().map(|path| &**path)
    }

    /// The word for what the caller can do about it.
    #[cfg(feature = "tonic")]
    pub(crate) fn advised(&self) -> &'static str {
        word_of(self.0.retry)
    }

    /// Each id of a conflict that failed.
    #[cfg(feature = "tonic")]
    pub(crate) fn failed(&self) -> impl Iterator<Item = FailedId<'_>> {
        let conflict = self.cause().is_some_and(|cause| cause.error().conflict().is_some());
        let one = match conflict && self.0.mismatches.is_empty() {
            true => FailedId::of(self.reason(), &self.0.facts, self.detail()),
            false => None,
        };
        let several = self.0.mismatches.iter();
        one.into_iter().chain(several.filter_map(|one| FailedId::of(one.reason, &one.facts, &one.detail)))
    }
}
