//! [`Answer`], what a verb answers where all is well.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::http::date;
use crate::http::etag::EntityTag;
use crate::http::path;
use crate::store::{Version, Versioned};

/// What a verb of [`http`](crate::http) answers where all is well: a status, headers, and the value where it is to be sent.
/// What is not well is an [`Error`](crate::Error), and its [`Problem`](crate::http::Problem).
///
/// A framework makes a response of [`status`](Self::status), [`headers`](Self::headers) and [`body`](Self::body); for axum,
/// actix-web and tonic [`web`](crate::web) does.
///
/// | from | status | body |
/// |---|---|---|
/// | [`get_if`](crate::Collection::get_if) | 200, or 304 where the caller has it | the value, none with 304 |
/// | [`put_if`](crate::Collection::put_if) | 201 where it created, else 200 | the value |
/// | [`create_if`](crate::Collection::create_if) | 201 | the value |
/// | [`modify_if`](crate::Collection::modify_if), [`patch_if`](crate::Collection::patch_if) | 200 | the value |
/// | [`delete_if`](crate::Collection::delete_if) | 204 | none |
///
/// ```
/// use ifmatch::Collection;
/// use ifmatch::http::Preconditions;
///
/// let notes = Collection::<String>::in_memory();
/// let created = notes.put_if("readme", &Preconditions::none(), "hello".to_string()).wait()?.at("/notes");
///
/// assert_eq!(created.status(), 201);
/// assert!(created.headers().contains(&("location", "/notes/readme".to_string())));
/// assert_eq!(created.body().map(String::as_str), Some("hello"));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "it is what the client is to be told"]
pub struct Answer<T: ?Sized> {
    did: Did,
    /// `None` after a deletion.
    now: Option<Versioned<T>>,
    /// Of what was created, or of what the value in the answer is.
    location: Option<String>,
    tag: Tag,
    modified: Option<SystemTime>,
    /// The date of the state that a read has already, where the date is what decides.
    has: Option<SystemTime>,
    /// Whether it was given before.
    replayed: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    Read,
    /// A read that the caller has already.
    Nothing,
    /// With the id.
    Created(Box<str>),
    Changed,
    /// A change that others' are part of, with the id.
    #[cfg(feature = "merge")]
    Merged(Box<str>),
    Deleted,
}

/// Whether the answer tells the entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Told,
    Kept,
}

impl<T: ?Sized> Answer<T> {
    pub(super) fn read(now: Versioned<T>, has: Option<SystemTime>) -> Self {
        Self { has, ..Self::of(Did::Read, Some(now)) }
    }

    pub(super) fn not_modified(now: Versioned<T>) -> Self {
        Self::of(Did::Nothing, Some(now))
    }

    /// 201, for a row that a handler created in a [table of its own](crate::table).
    ///
    /// ```
    /// # use ifmatch::{Versioned, http::Answer};
    /// let row = Versioned::<str>::new("7".parse()?, "hello");
    /// let answer = Answer::created("readme", row).at("/notes");
    /// assert_eq!(answer.status(), 201);
    /// assert!(answer.headers().contains(&("location", "/notes/readme".to_string())));
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn created(id: &str, now: Versioned<T>) -> Self {
        Self::of(Did::Created(id.into()), Some(now))
    }

    /// 200, for a row that a handler changed in a [table of its own](crate::table).
    ///
    /// ```
    /// # use ifmatch::{Versioned, http::Answer};
    /// assert_eq!(Answer::changed(Versioned::<str>::new("8".parse()?, "hello")).status(), 200);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn changed(now: Versioned<T>) -> Self {
        Self::of(Did::Changed, Some(now))
    }

    #[cfg(feature = "merge")]
    pub(super) fn merged(id: &str, now: Versioned<T>) -> Self {
        Self::of(Did::Merged(id.into()), Some(now))
    }

    /// 204, for a row that a handler deleted from a [table of its own](crate::table).
    ///
    /// ```
    /// # use ifmatch::http::Answer;
    /// assert_eq!(Answer::<str>::deleted().status(), 204);
    /// ```
    pub fn deleted() -> Self {
        Self::of(Did::Deleted, None)
    }

    /// The same without what was said of it since.
    #[cfg(feature = "idempotency")]
    pub(super) fn bare(self) -> Self {
        Self::of(self.did, self.now)
    }

    /// The id of what was created or merged.
    #[cfg(feature = "idempotency")]
    pub(super) fn id(&self) -> Option<&str> {
        match &self.did {
            Did::Created(id) => Some(id),
            #[cfg(feature = "merge")]
            Did::Merged(id) => Some(id),
            _ => None,
        }
    }

    fn of(did: Did, now: Option<Versioned<T>>) -> Self {
        Self { did, now, location: None, tag: Tag::Told, modified: None, has: None, replayed: false }
    }

    /// The same as one that was given before.
    #[cfg(feature = "idempotency")]
    pub(super) fn replayed(self) -> Self {
        Self { replayed: true, ..self }
    }

    /// The same with the `Location` of what was created: the path of the collection, and below it the id, escaped. What was
    /// [merged](crate::Collection::merge_if) gets it as its `Content-Location` (RFC 9110 §8.7): the value is that of the resource,
    /// and not what the client sent. Any other answer stays as it is.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// # let notes = ifmatch::Collection::<String>::in_memory();
    /// let created = notes.create_if("a/b", &Preconditions::none(), "hello".to_string()).wait()?.at("/notes");
    /// assert!(created.headers().contains(&("location", "/notes/a%2Fb".to_string())));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn at(mut self, base: &str) -> Self {
        match &self.did {
            Did::Created(id) => self.location = Some(path::below(base, id)),
            #[cfg(feature = "merge")]
            Did::Merged(id) => self.location = Some(path::below(base, id)),
            Did::Read | Did::Nothing | Did::Changed | Did::Deleted => {}
        }
        self
    }

    /// The same with the time at which the value was changed last, for resources that know it: `Last-Modified`. A read that
    /// has that state already by its `If-Modified-Since` becomes 304, unless it told an entity tag, which goes first.
    ///
    /// A read is sent with `Cache-Control: no-cache` then, as caches guess from the date for how long a state is good (RFC 9111
    /// §4.2.2): a client whose write is refused would read the old state again. A service that knows better sets its own over
    /// it.
    ///
    /// A date counts whole seconds: who read within the second of a change does not hear of a later change in it. Entity
    /// tags have no such gap, and no date is ever enough for a write.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use ifmatch::Collection;
    /// use ifmatch::http::Preconditions;
    ///
    /// let notes = Collection::<SystemTime>::in_memory();
    /// notes.create("readme", SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).wait()?;
    ///
    /// let since = Preconditions::from_headers([("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    /// let answer = notes.get_if("readme", &since).wait()?.modified(|changed| *changed);
    /// assert_eq!(answer.status(), 304);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[cfg(feature = "dates")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dates")))]
    pub fn modified(mut self, at: impl FnOnce(&T) -> SystemTime) -> Self {
        let Some(now) = &self.now else { return self };
        let at = date::in_range(at(&now.value));
        self.modified = Some(at);
        // `has` is in whole seconds, as the date it is compared with was.
        if self.did == Did::Read
            && self.has.is_some_and(|has| date::whole_seconds(at) <= date::whole_seconds(has))
        {
            self.did = Did::Nothing;
        }
        self
    }

    /// The same without its `ETag`, for a value that was changed on its way into the store: what the client sent is then
    /// not what is stored, and a tag with the answer to a `PUT` would tell it that its own copy is that state (RFC 9110
    /// §9.3.4). It reads again, and gets both.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// # let notes = ifmatch::Collection::<String>::in_memory();
    /// let trimmed = "  hello ".trim().to_string();
    /// let answer = notes.put_if("readme", &Preconditions::none(), trimmed).wait()?.without_etag();
    /// assert!(answer.headers().is_empty());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn without_etag(self) -> Self {
        Self { tag: Tag::Kept, ..self }
    }

    /// The same with the value presented as another type: what the service shows of it, **and of nothing else**. That a client
    /// has it already, so 304, was told by the version of this value: were another resource shown beside it, a change of that
    /// would never be sent. A page of two resources takes [`fetch`](crate::Collection::fetch) for each, and the tag of none.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// # let notes = ifmatch::Collection::<String>::in_memory();
    /// # notes.create("readme", "hello".to_string()).wait()?;
    /// let lengths = notes.get_if("readme", &Preconditions::none()).wait()?.map(|text| text.len());
    /// assert_eq!(lengths.body(), Some(&5));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn map<U>(self, show: impl FnOnce(&T) -> U) -> Answer<U> {
        let Self { did, now, location, tag, modified, has, replayed } = self;
        let now = now.map(|now| Versioned { version: now.version, value: Arc::new(show(&now.value)) });
        Answer { did, now, location, tag, modified, has, replayed }
    }

    /// The HTTP status: 200, 201, 204 or 304.
    pub fn status(&self) -> u16 {
        match self.did {
            Did::Read | Did::Changed => 200,
            #[cfg(feature = "merge")]
            Did::Merged(_) => 200,
            Did::Created(_) => 201,
            Did::Deleted => 204,
            Did::Nothing => 304,
        }
    }

    /// Whether the write created the resource.
    pub fn is_created(&self) -> bool {
        matches!(self.did, Did::Created(_))
    }

    /// Whether it is the answer to an earlier request with the same `Idempotency-Key`, so that nothing was applied for this one:
    /// [`Keys`](crate::http::Keys) gives those.
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// Whether the value has others' changes too, which came in between. The client has to take it over: were it to go on from its
    /// own under the new tag, it would undo them.
    #[cfg(feature = "merge")]
    #[cfg_attr(docsrs, doc(cfg(feature = "merge")))]
    pub fn is_merged(&self) -> bool {
        matches!(self.did, Did::Merged(_))
    }

    /// The state of the resource now; `None` after a deletion. Also where its value is not to be sent.
    pub fn now(&self) -> Option<&Versioned<T>> {
        self.now.as_ref()
    }

    /// The value, where it is to be sent.
    pub fn body(&self) -> Option<&T> {
        match self.did {
            Did::Nothing => None,
            _ => self.now.as_ref().map(|now| &*now.value),
        }
    }

    /// The headers but those that describe the body, as `Content-Type`: `ETag`, `Location`, and `Last-Modified`, of a
    /// read with `Cache-Control: no-cache`; and of what was merged `Merged: ?1` and `Content-Location`. Names are in lower
    /// case, values in printable ASCII.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(version) = self.version_told() {
            headers.push(("etag", EntityTag::from(version).to_string()));
        }
        let location = match &self.did {
            #[cfg(feature = "merge")]
            Did::Merged(_) => {
                // True, as RFC 9651 §3.3.6 writes it.
                headers.push(("merged", "?1".to_owned()));
                "content-location"
            }
            _ => "location",
        };
        headers.extend(self.location.clone().map(|at| (location, at)));
        // What tells nothing of the state by its tag must not by its date either.
        if let Some(modified) = self.modified.filter(|_| self.tag == Tag::Told) {
            headers.extend(date::shown(modified).map(|shown| ("last-modified", shown)));
            // By the date a cache may guess how long it is good (RFC 9111 §4.2.2): who is refused would read the same again.
            if matches!(self.did, Did::Read | Did::Nothing) {
                headers.push(("cache-control", "no-cache".to_owned()));
            }
        }
        headers
    }

    fn version_told(&self) -> Option<Version> {
        self.now.as_ref().filter(|_| self.tag == Tag::Told).map(|now| now.version)
    }
}

// Hand-written: the derived impl would ask for a value that can be printed, and print it.
impl<T: ?Sized> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .field("headers", &self.headers())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "dates")]
    use std::time::Duration;

    use super::*;

    fn now() -> Versioned<String> {
        Versioned::new("7".parse().unwrap(), "s3cr3t".to_owned())
    }

    #[cfg(feature = "dates")]
    fn date(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn header(answer: &Answer<String>, name: &str) -> Option<String> {
        answer.headers().into_iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    #[test]
    fn each_verb_has_its_status_and_only_a_creation_a_location() {
        let rows = [
            (Answer::read(now(), None), 200, true, true),
            (Answer::not_modified(now()), 304, true, false),
            (Answer::created("a b", now()), 201, true, true),
            (Answer::changed(now()), 200, true, true),
            (Answer::deleted(), 204, false, false),
        ];

        for (answer, status, tag, body) in rows {
            let answer = answer.at("/notes");
            let created = status == 201;
            assert_eq!((answer.status(), answer.is_created()), (status, created));
            assert_eq!(header(&answer, "etag"), tag.then(|| "\"7\"".to_owned()));
            assert_eq!(header(&answer, "location"), created.then(|| "/notes/a%20b".to_owned()));
            assert_eq!((answer.body().is_some(), answer.now().is_some()), (body, tag));
        }
    }

    #[cfg(feature = "dates")]
    #[test]
    fn a_date_makes_a_read_304_up_to_its_second_and_nothing_else() {
        let read = |has| Answer::read(now(), has).modified(|_| date(100) + Duration::from_millis(900));

        assert_eq!([99, 100, 101].map(|has| read(Some(date(has))).status()), [200, 304, 304]);
        assert_eq!(read(None).status(), 200);
        assert_eq!(header(&read(None), "last-modified").as_deref(), Some("Thu, 01 Jan 1970 00:01:40 GMT"));
        let written = Answer { has: Some(date(200)), ..Answer::changed(now()) };
        let written = written.modified(|_| date(100));
        assert_eq!((written.status(), header(&written, "cache-control")), (200, None));
        assert_eq!(
            read(None).without_etag().headers(),
            [],
            "neither tag nor date, and nothing to guess from"
        );
        assert_eq!(Answer::<String>::deleted().modified(|_| date(100)).headers(), []);
    }

    #[cfg(feature = "dates")]
    #[test]
    fn no_time_is_out_of_the_range_of_a_date() {
        let far = [SystemTime::UNIX_EPOCH - Duration::from_secs(1), date(1 << 40)];

        let told =
            far.map(|at| header(&Answer::read(now(), None).modified(|_| at), "last-modified").unwrap());

        assert_eq!(told, ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]);
    }

    #[test]
    fn neither_a_log_nor_a_kept_tag_shows_anything() {
        let answer = Answer::created("a", now()).at("/notes").without_etag();

        assert_eq!(answer.headers(), [("location", "/notes/a".to_owned())]);
        assert!(!format!("{answer:?}").contains("s3cr3t"));
        let shown = Answer::created("a", now()).at("/notes").map(String::len);
        assert_eq!((shown.status(), shown.body(), shown.headers().len()), (201, Some(&6), 2));
    }
}
