//! What a program adds to a [`Problem`], and what it holds back.

use std::borrow::Cow;

#[cfg(feature = "json")]
use serde::Serialize;

use super::Problem;
#[cfg(feature = "json")]
use super::body::MEMBERS;
#[cfg(feature = "merge")]
use super::body::Unmerged;
#[cfg(feature = "json")]
use crate::http::expose::Expose;
#[cfg(any(feature = "json", feature = "tonic"))]
use crate::http::facts::Facts;
use crate::http::{path, status};
#[cfg(feature = "merge")]
use crate::merge::Overlaps;
use crate::store::Advice;

impl Problem {
    /// The same with another status: overrides the table. A status that is no error becomes 500.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let hidden = Problem::new(NotFound::deleted("a1")).with_status(404);
    /// assert_eq!(hidden.status(), 404);
    /// assert_eq!(hidden.with_status(204).status(), 500);
    /// ```
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = if (400..=599).contains(&status) { status } else { 500 };
        self.0.title = status::phrase(self.0.status);
        self
    }

    /// The same with another sentence for people. It goes to the caller.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of_status(406).with_detail("this service answers JSON only");
    /// assert_eq!(problem.detail(), "this service answers JSON only");
    /// ```
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same with one more header, as `Allow` of a 405. Its name is in lower case; a value that is no printable ASCII is
    /// left out, as no header can hold it.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of_status(405).with_header("allow", "GET, PUT");
    /// assert!(problem.headers().contains(&("allow", "GET, PUT".to_string())));
    /// ```
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// The same with a URI of the program's own for what kind of problem it is.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of(409, "sold-out", "there is none left").with_type("https://example.org/sold-out");
    /// assert_eq!(problem.type_uri(), "https://example.org/sold-out");
    /// ```
    pub fn with_type(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.r#type = uri.into();
        self
    }

    /// The same with the URI of this occurrence, for instance the path of the request.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let problem = Problem::new(NotFound::new("a1")).with_instance("/articles/a1");
    /// assert_eq!(serde_json::to_value(problem)?["instance"], "/articles/a1");
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn with_instance(mut self, instance: impl Into<Box<str>>) -> Self {
        self.0.instance = Some(instance.into());
        self
    }

    /// The same with the URL of the resource it is about: the path of the collection, and below it the id, escaped. Nothing
    /// is added where it is about none.
    ///
    /// ```
    /// # use ifmatch::{Collection, http::Problem};
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("a b", "hello".to_string()).wait()?;
    /// let taken = notes.create("a b", "mine".to_string()).wait().unwrap_err();
    /// assert_eq!(Problem::new(taken).at("/notes").resource_url(), Some("/notes/a%20b"));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn at(mut self, base: &str) -> Self {
        let url = self.resource_id().map(|id| path::below(base, id).into());
        self.0.facts.resource_url = url;
        self
    }

    /// The same with the paths that both sides changed, where a merge could not decide. What the caller can do is merge.
    ///
    /// ```
    /// # use ifmatch::{Conflict, http::Problem};
    /// # let conflict = Conflict::state("a1", "overlap", "both changed the title");
    /// let problem = Problem::new(conflict).with_conflicting_paths(["/title"]);
    /// assert_eq!(serde_json::to_value(problem)?["retry"], "merge");
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn with_conflicting_paths<P: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.0.conflicting_paths = paths.into_iter().map(Into::into).collect();
        self.0.retry = Advice::Merge;
        self
    }

    /// The same with the current value of a conflict, the one its `current_version` speaks of, as the member
    /// `current`. Only for callers who may read it.
    ///
    /// Nothing is added where the problem is of no conflict, where that has no value of type `T`, and where the value
    /// can't be written as JSON. So a handler for errors of several resource types asks for each of them in turn.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::{Conflict, Versioned};
    /// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
    /// let conflict = Conflict::state("a1", "archived", "it is archived").with_current(&article);
    ///
    /// let problem = Problem::new(conflict).with_current::<u64>().with_current::<String>();
    /// assert_eq!(serde_json::to_value(problem)?["current"], "text");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn with_current<T: crate::store::Resource + Serialize + ?Sized>(mut self) -> Self {
        let conflict = self.0.cause.as_ref().and_then(|cause| cause.error().conflict());
        let current = conflict.and_then(|conflict| conflict.current::<T>());
        if let Some(json) = current.and_then(|current| serde_json::to_value(&*current.value).ok()) {
            self.0.current = Some(json);
        }
        self
    }

    /// The same with as much of the resource as the caller may read. Members of the program's own stay.
    #[cfg(feature = "json")]
    pub fn exposing<T: crate::store::Resource + Serialize + ?Sized>(mut self, level: Expose) -> Self {
        match level {
            Expose::Full => {
                self = self.with_current::<T>();
                #[cfg(feature = "merge")]
                self.show_overlaps::<T>();
                self
            }
            Expose::Version => {
                self.hide_values();
                self
            }
            Expose::Nothing => self.telling_nothing(),
        }
    }

    /// The same with nothing of any resource.
    #[cfg(any(feature = "json", feature = "tonic"))]
    pub(crate) fn telling_nothing(mut self) -> Self {
        let inner = &mut *self.0;
        inner.detail = inner.title.into();
        inner.facts = Facts::default();
        inner.etag = None;
        inner.mismatches.clear();
        inner.conflicting_paths.clear();
        #[cfg(feature = "json")]
        self.hide_values();
        self
    }

    #[cfg(feature = "json")]
    fn hide_values(&mut self) {
        self.0.current = None;
        #[cfg(feature = "merge")]
        (self.0.unmerged = None);
    }

    #[cfg(feature = "merge")]
    fn show_overlaps<T: crate::store::Resource + ?Sized>(&mut self) {
        let conflict = self.0.cause.as_ref().and_then(|cause| cause.error().conflict());
        let shown = conflict.filter(|conflict| conflict.current::<T>().is_some());
        if let Some(overlaps) = shown.and_then(|conflict| Overlaps::of(conflict)) {
            let (overlaps, merged) = (overlaps.list().to_vec(), overlaps.merged().clone());
            self.0.unmerged = Some(Unmerged { overlaps, merged });
        }
    }

    /// The same with a member of the program's own. Those that a problem has itself stay as they are, and nothing is added
    /// where the value can't be written as JSON.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of(409, "sold-out", "there is none left").with_member("back_on", "2026-12-01");
    /// assert_eq!(serde_json::to_value(problem)?["back_on"], "2026-12-01");
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn with_member(mut self, name: &str, value: impl Serialize) -> Self {
        if !MEMBERS.contains(&name)
            && let Ok(json) = serde_json::to_value(value)
        {
            self.0.own.insert(name.to_owned(), json);
        }
        self
    }
}
