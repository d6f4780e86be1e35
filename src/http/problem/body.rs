//! [`Body`], what a problem says, as it is written.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::http::cause::Cause;
use crate::http::etag::EntityTag;
use crate::http::facts::{Facts, Failed};
#[cfg(feature = "merge")]
use crate::merge::Overlap;
use crate::store::{Advice, WriteId, whole_seconds};

/// The members of a problem, in their order, and what goes beside them.
#[derive(Clone, Serialize)]
pub(super) struct Body {
    pub(super) r#type: Cow<'static, str>,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<Box<str>>,
    pub(super) reason: &'static str,
    #[serde(serialize_with = "word")]
    pub(super) retry: Advice,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub(super) retry_after: Option<Duration>,
    #[serde(flatten)]
    pub(super) facts: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) write_id: Option<WriteId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) conflicting_paths: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mismatches: Vec<Failed>,
    #[cfg(feature = "json")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<serde_json::Value>,
    #[cfg(feature = "merge")]
    #[serde(flatten)]
    pub(super) unmerged: Option<Unmerged>,
    #[cfg(feature = "json")]
    #[serde(flatten)]
    pub(super) own: serde_json::Map<String, serde_json::Value>,
    /// Of the resource that the request is about, where that is known.
    #[serde(skip)]
    pub(super) etag: Option<EntityTag>,
    /// Headers beyond those that a problem has by itself.
    #[serde(skip)]
    pub(super) headers: Vec<(&'static str, String)>,
    #[serde(skip)]
    pub(super) cause: Option<Cause>,
}

/// What a merge left, and what it made of the rest.
#[cfg(feature = "merge")]
#[derive(Clone, Serialize)]
pub(super) struct Unmerged {
    pub(super) overlaps: Vec<Overlap>,
    pub(super) merged: serde_json::Value,
}

/// The members that a problem has itself, as a program may not name its own.
#[cfg(feature = "json")]
pub(super) const MEMBERS: [&str; 22] = [
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "reason",
    "retry",
    "retry_after",
    "collection",
    "resource_id",
    "resource_url",
    "expected_version",
    "current_version",
    "current_etag",
    "write_id",
    "rule",
    "holder",
    "conflicting_paths",
    "overlaps",
    "merged",
    "mismatches",
    "current",
];

// By reference, as serde asks for it.
fn word<S: Serializer>(advice: &Advice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word_of(*advice))
}

pub(super) fn word_of(advice: Advice) -> &'static str {
    match advice {
        Advice::Refetch => "refetch",
        Advice::Merge => "merge",
        Advice::Wait => "wait",
        Advice::Never => "never",
    }
}

fn seconds<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    wait.map(whole_seconds).serialize(serializer)
}
