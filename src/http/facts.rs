//! [`Facts`], what a problem says of one resource.

use serde::Serialize;

use crate::http::etag::EntityTag;
use crate::http::status;
use crate::store::{Expected, Kind, Mismatch, Version};

/// What a problem says of one resource.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) collection: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_url: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current_version: Option<Version>,
    /// The same as a client sends it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current_etag: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<Box<str>>,
}

/// One of several ids that failed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failed {
    pub(super) reason: &'static str,
    pub(super) detail: String,
    #[serde(flatten)]
    pub(super) facts: Facts,
}

/// An id that failed, for an adapter that has a message of its own for each.
#[cfg(feature = "tonic")]
pub(crate) struct FailedId<'a> {
    pub(crate) reason: &'static str,
    pub(crate) collection: Option<&'a str>,
    pub(crate) id: &'a str,
    pub(crate) detail: &'a str,
}

impl Facts {
    pub(super) fn about(id: &str) -> Self {
        Self { resource_id: Some(id.into()), ..Self::default() }
    }

    pub(super) fn of(mismatch: &Mismatch) -> Self {
        let expected_version = match mismatch.expected() {
            Expected::Version(version) => Some(version),
            Expected::Any | Expected::Absent | Expected::Present => None,
        };
        let (rule, holder) = match mismatch.kind() {
            Kind::State { rule, .. } => (Some(rule.as_ref().into()), None),
            Kind::Locked { holder, .. } => (None, Some(holder.clone())),
            _ => (None, None),
        };
        Self {
            collection: mismatch.collection().map(Box::from),
            // A rule or a lock refused: the caller expected nothing that failed.
            expected_version: expected_version.filter(|_| rule.is_none() && holder.is_none()),
            rule,
            holder,
            ..Self::about(mismatch.id())
        }
        .with_current(current_version(mismatch))
    }

    pub(super) fn with_current(self, version: Option<Version>) -> Self {
        let tag = version.map(|version| EntityTag::from(version).to_string().into());
        Self { current_version: version, current_etag: tag, ..self }
    }
}

#[cfg(feature = "tonic")]
impl<'a> FailedId<'a> {
    /// None where nothing is to be told of the resource.
    pub(super) fn of(reason: &'static str, facts: &'a Facts, detail: &'a str) -> Option<Self> {
        let id = facts.resource_id.as_deref()?;
        Some(Self { reason, collection: facts.collection.as_deref(), id, detail })
    }
}

impl Failed {
    pub(super) fn of(mismatch: &Mismatch) -> Self {
        Self {
            reason: status::of_kind(mismatch.kind()),
            detail: mismatch.to_string(),
            facts: Facts::of(mismatch),
        }
    }
}

/// The version of the value found. What was found may also be the version of a deletion.
fn current_version(mismatch: &Mismatch) -> Option<Version> {
    match mismatch.kind() {
        Kind::Stale | Kind::Exists | Kind::State { .. } => mismatch.found(),
        Kind::Missing | Kind::Deleted | Kind::Locked { .. } => None,
    }
}
