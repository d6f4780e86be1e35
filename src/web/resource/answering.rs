//! [`Routes`] as a service: from a request to the one call that does its work.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::random;
use crate::collection::Collection;
use crate::http::json;
use crate::http::{ACCEPT_PATCH, Answer, EntityTag, Expose, Patch, Preconditions, Problem, Return};
use crate::store::{Committed, Cursor, Receipt, Refusal, Resolution, Resource, WriteId};
use crate::web::resource::body::{self, Body};
use crate::web::resource::call::Call;
use crate::web::resource::events::Events;
use crate::web::resource::path::{Target, parameter};
use crate::web::resource::{Routes, Settings, list};
use crate::web::response;

const OF_COLLECTION: &str = "GET, HEAD, POST, OPTIONS";
const OF_ITEM: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";

const EVENTS: &str = "text/event-stream";

impl<T, B> tower_service::Service<Request<B>> for Routes<T>
where
    T: Resource + Clone + PartialEq + Serialize + DeserializeOwned,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let answered = settings.answer(&parts, body).await;
            let mut response = answered.unwrap_or_else(|problem| settings.refuse(problem));
            if parts.method == Method::HEAD {
                without_body(&mut response);
            }
            Ok(response)
        })
    }
}

impl<T: Resource + Clone + PartialEq + Serialize + DeserializeOwned> Settings<T> {
    async fn answer<B>(&self, parts: &Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
    {
        let target = Target::read(parts.uri.path())?;
        let allowed = match target {
            Target::Collection => OF_COLLECTION,
            Target::Item(_) => OF_ITEM,
        };
        let method = parts.method.as_str();
        if !allowed.split(", ").any(|allowed| allowed == method) {
            let everywhere = [OF_COLLECTION, OF_ITEM, "CONNECT, TRACE"];
            // RFC 9110 §9.1: a method that is known nowhere is not one that this target refuses.
            return match everywhere.iter().flat_map(|known| known.split(", ")).any(|known| known == method) {
                true => Err(Problem::of_status(405).with_header("allow", allowed)),
                false => Err(Problem::of(501, "not-implemented", "the method is not known here")),
            };
        }
        if method == "OPTIONS" {
            return Ok(options(allowed));
        }
        // Of a creation too, where the client says which id it is to have.
        let named = match target {
            Target::Collection if method == "POST" => parameter(parts.uri.query(), "id")?,
            _ => None,
        };
        self.allowed(parts, target.id().or(named.as_deref()))?;
        match (method, target) {
            ("POST", Target::Collection) => self.post(parts, body).await,
            (_, Target::Collection) => self.read_collection(parts).await,
            (_, Target::Item(id)) => self.item(parts, &id, body).await,
        }
    }

    /// All but `POST`, which is to the collection.
    async fn item<B>(&self, parts: &Parts, id: &str, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
    {
        let answer = match parts.method.as_str() {
            "PUT" => {
                // RFC 9110 §14.5: it would take the place of the whole.
                if parts.headers.contains_key(CONTENT_RANGE) {
                    return Err(Problem::of_status(400).with_detail("a part of a value can't be put"));
                }
                let (value, sent) = self.value(parts, body).await?;
                let put =
                    |collection, request| async move { self.put(&collection, id, &request, value).await };
                let answer = self.once(parts, Some(id), &sent, put).await?.at(&self.base);
                if self.exact_etags && !is_written_as(&answer, &sent) {
                    answer.without_etag()
                } else {
                    answer
                }
            }
            "PATCH" => {
                let kind = text(parts, &CONTENT_TYPE);
                // Another type goes first, whatever its body is.
                Patch::takes(kind)?;
                let body = body::read(body, self.largest_body).await?;
                let patch = Patch::parse(kind, &body)?;
                let check = |value: &T| {
                    self.within(value)?;
                    self.checked(id, value)
                };
                let apply = |collection: Collection<T>, request| async move {
                    collection.try_apply_if(id, &request, &patch, check).await
                };
                self.once(parts, Some(id), &body, apply).await?
            }
            "DELETE" => {
                let delete = |collection: Collection<T>, request| async move {
                    Ok(collection.delete_if(id, &request).await?)
                };
                self.once(parts, Some(id), &[], delete).await?
            }
            _ => return respond(&self.dated(self.collection.get_if(id, &self.preconditions(parts)).await?)),
        };
        self.written(parts, &self.dated(answer))
    }

    /// Makes a write, and once where the request has a key.
    async fn once<Fut: Future<Output = Result<Answer<T>, Problem>> + Send>(
        &self,
        parts: &Parts,
        id: Option<&str>,
        body: &[u8],
        call: impl FnOnce(Collection<T>, Preconditions) -> Fut + Send,
    ) -> Result<Answer<T>, Problem> {
        let mut request = self.preconditions(parts);
        let Some((keys, caller)) = &self.once else { return call(self.collection.clone(), request).await };
        let key = request.take_key()?.map(|key| {
            let path = id.map_or_else(|| self.base.to_string(), |id| [&self.base, "/", id].concat());
            let query = parts.uri.query().unwrap_or_default();
            let kind = parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
            let payload = [query.as_bytes(), kind, body];
            key.request_of(&caller(&Call { parts, id }), parts.method.as_str(), &path, &payload)
        });
        keys.once(key, &self.collection, |collection| call(collection, request)).await
    }

    #[cfg(not(feature = "merge"))]
    async fn put(
        &self,
        collection: &Collection<T>,
        id: &str,
        request: &Preconditions,
        value: T,
    ) -> Result<Answer<T>, Problem> {
        self.checked(id, &value)?;
        Ok(collection.put_if(id, request, value).await?)
    }

    #[cfg(feature = "merge")]
    async fn put(
        &self,
        collection: &Collection<T>,
        id: &str,
        request: &Preconditions,
        value: T,
    ) -> Result<Answer<T>, Problem> {
        let Some((merge, history)) = self.merging.as_ref().filter(|_| request.asks_to_be_merged()) else {
            self.checked(id, &value)?;
            return Ok(collection.put_if(id, request, value).await?);
        };
        let check = |value: &T| {
            self.within(value)?;
            self.checked(id, value)
        };
        collection.try_merge_if(id, request, value, merge, history, check).await
    }

    async fn post<B>(&self, parts: &Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
    {
        let query = parts.uri.query();
        if let Some(write) = parameter(query, "resolve")? {
            // Nothing is written that could be kept.
            self.preconditions(parts).check_key()?;
            return self.resolve(parts, &write).await;
        }
        let given = parameter(query, "id")?;
        let (value, sent) = self.value(parts, body).await?;
        let id = match (given, &self.name) {
            (Some(given), _) => given,
            (None, Some(name)) => {
                let id = name(&value);
                self.allowed(parts, Some(&id))?;
                id
            }
            (None, None) => format!("{:016x}{:016x}", random(), random()),
        };
        // After the key is known: what is answered again is not judged again.
        let create = |collection: Collection<T>, request| async move {
            self.checked(&id, &value)?;
            Ok(collection.create_if(&id, &request, value).await?)
        };
        let created = self.once(parts, None, &sent, create).await?;
        self.written(parts, &self.dated(created.at(&self.base)))
    }

    /// With the date of the value, where the program knows one.
    fn dated(&self, answer: Answer<T>) -> Answer<T> {
        match &self.modified {
            Some(modified) => answer.modified(|value| modified(value)),
            None => answer,
        }
    }

    /// Whether a patched value is no longer than one that could be put.
    fn within(&self, value: &T) -> Result<(), Problem> {
        let length = serde_json::to_vec(value).map_or(0, |text| text.len());
        match length <= self.largest_body {
            true => Ok(()),
            false => Err(Problem::of_status(413).with_detail(format!(
                "the value would be of {length} bytes, and the limit is {}",
                self.largest_body
            ))),
        }
    }

    /// The response to a write, with as much of the value as the client wants back: none where nothing is to be exposed, as who
    /// may write may not be allowed to read.
    fn written(&self, parts: &Parts, answer: &Answer<T>) -> Result<Response<Body>, Problem> {
        let lines = parts.headers.get_all("prefer").iter().map(HeaderValue::as_bytes);
        let wanted = Return::read(lines).filter(|_| answer.now().is_some());
        let hidden = self.expose == Expose::Nothing && answer.now().is_some();
        #[cfg(feature = "merge")]
        if answer.is_merged() {
            return if hidden { Ok(minimal(&answer.clone().without_etag())) } else { respond(answer) };
        }
        // A patch was applied to what the client may never have seen: under the tag of what came of that it would write over
        // it.
        let unseen = parts.method == "PATCH"
            && (answer.is_replayed() || self.preconditions(parts).names_only().is_none());
        let mut response = match hidden || wanted == Some(Return::Minimal) {
            true if unseen => minimal(&answer.clone().without_etag()),
            true => minimal(answer),
            false => respond(answer)?,
        };
        if let Some(wanted) = wanted.filter(|wanted| !hidden || matches!(wanted, Return::Minimal)) {
            response.headers_mut().insert("preference-applied", HeaderValue::from_static(wanted.applied()));
        }
        Ok(response)
    }

    async fn read_collection(&self, parts: &Parts) -> Result<Response<Body>, Problem> {
        let mut response = if wants_events(parts) {
            self.events(parts).await?
        } else {
            list::page(self, parts.uri.query()).await?.map(Body::whole)
        };
        // RFC 9110 §13.2.1: only where the answer would be a good one.
        if self.preconditions(parts).names_tags() {
            return Err(Problem::without_tag());
        }
        // One URL, two kinds of answers.
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        Ok(response)
    }

    async fn events(&self, parts: &Parts) -> Result<Response<Body>, Problem> {
        let after = match parts.headers.get("last-event-id").filter(|id| !id.is_empty()) {
            Some(id) => {
                let cursor = id.to_str().ok().and_then(|id| id.parse::<Cursor>().ok());
                Some(cursor.ok_or(Refusal::Cursor).map_err(Problem::new)?)
            }
            None => None,
        };
        let events = Events::begin(self.collection.clone(), after, self.pause).await?;
        let mut response = Response::new(Body::events(events));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx would keep the events until it has a bufferful.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    /// What became of a write whose answer was lost.
    async fn resolve(&self, parts: &Parts, write: &str) -> Result<Response<Body>, Problem> {
        #[derive(Serialize)]
        struct Resolved {
            outcome: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            etag: Option<String>,
        }

        let write: WriteId =
            write.parse().map_err(|_| Problem::of_status(400).with_detail("`resolve` is no write id"))?;
        let (outcome, committed) = match self.collection.resolve(write).await? {
            Resolution::Applied(committed) => ("applied", Some(committed)),
            Resolution::NotApplied => ("not-applied", None),
            Resolution::Unknown => ("unknown", None),
        };
        // As in the answer that was lost, which may have told nothing. It may have been that to a patch, or a merge, and then
        // only who names what was replaced has seen what came of it.
        let is_seen = |committed: &Committed| match committed.receipts() {
            [Receipt { replaced: None, .. }, ..] => true,
            [Receipt { replaced, .. }, ..] => *replaced == self.preconditions(parts).names_only(),
            [] => false,
        };
        let told = committed.filter(|_| self.expose != Expose::Nothing && !self.exact_etags).filter(is_seen);
        let version = told.and_then(|committed| committed.version());
        let etag = version.map(|version| EntityTag::from(version).to_string());
        let mut response = response::of_value(&Resolved { outcome, etag })?.map(Body::whole);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn allowed(&self, parts: &Parts, id: Option<&str>) -> Result<(), Problem> {
        self.allow.as_ref().map_or(Ok(()), |allow| allow(&Call { parts, id }))
    }

    fn preconditions(&self, parts: &Parts) -> Preconditions {
        // A layer for all routes may know of a proxy, and must not take away what this one requires.
        let terms = parts.extensions.get().map_or(self.terms, |terms| self.terms.and(*terms));
        Preconditions::from_headers(&parts.headers).under(terms)
    }

    /// The value that a body is, and the body.
    async fn value<B>(&self, parts: &Parts, body: B) -> Result<(T, Vec<u8>), Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
    {
        // Another type goes first, whatever its body is.
        json::takes(text(parts, &CONTENT_TYPE))?;
        let body = body::read(body, self.largest_body).await?;
        Ok((json::read(&body)?, body))
    }

    fn checked(&self, id: &str, value: &T) -> Result<(), Problem> {
        match &self.check {
            Some(check) => check(id, value),
            None => Ok(()),
        }
    }

    fn refuse(&self, problem: Problem) -> Response<Body> {
        let problem = match problem.cause() {
            Some(_) => problem.at(&self.base).exposing::<T>(self.expose),
            // The program's own says what it says.
            None => problem,
        };
        let problem = match problem.write_id().filter(|_| problem.reason() == "unknown-outcome") {
            Some(write) => {
                let base = if self.base.is_empty() { "/" } else { &*self.base };
                let url = format!("{base}?resolve={write}");
                problem.with_member("resolve_url", url)
            }
            None => problem,
        };
        response::of_problem(&problem).map(Body::whole)
    }
}

fn options(allowed: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::unsent());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    if allowed == OF_ITEM {
        response.headers_mut().insert("accept-patch", HeaderValue::from_static(ACCEPT_PATCH));
    }
    response
}

fn respond<T: Serialize>(answer: &Answer<T>) -> Result<Response<Body>, Problem> {
    Ok(response::of_answer(answer)?.map(|body: Option<Bytes>| body.map_or_else(Body::unsent, Body::whole)))
}

fn minimal<T>(answer: &Answer<T>) -> Response<Body> {
    let mut response = response::without_value(answer).map(|()| Body::whole(Bytes::new()));
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.body_mut() = Body::unsent();
    }
    response
}

/// What `HEAD` is answered: the headers of a `GET`, and the length that its body would have.
fn without_body(response: &mut Response<Body>) {
    if let Some(length) = response.body().length() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::unsent();
}

fn text<'p>(parts: &'p Parts, name: &HeaderName) -> Option<&'p str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether the value of an answer is written as the bytes that were sent.
fn is_written_as<T: Serialize>(answer: &Answer<T>, sent: &[u8]) -> bool {
    answer.now().and_then(|now| serde_json::to_vec(&*now.value).ok()).is_some_and(|text| text == sent)
}

/// Whether the events are all that the client takes: one that takes JSON too gets a page.
fn wants_events(parts: &Parts) -> bool {
    let lines = parts.headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut kinds = lines.flat_map(|line| line.split(',')).filter(|kind| !kind.trim().is_empty()).peekable();
    kinds.peek().is_some() && kinds.all(|kind| kind.trim().eq_ignore_ascii_case(EVENTS))
}
