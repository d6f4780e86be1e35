//! The feed of a collection as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::collection::{Collection, Sleep};
use crate::http::{EntityTag, Problem};
use crate::store::{Batch, Change, Changes, Cursor, Error, Resource, Start};

/// A stream of events, of whatever type the resources are.
pub(super) trait Feeding: Send {
    /// The next piece of the stream; `None` at its end.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

/// The changes of a collection, one event a commit, from a place on.
pub(super) struct Events<T: Resource> {
    collection: Collection<T>,
    state: State<T>,
    /// How the stream begins.
    greeting: Option<Bytes>,
    pause: Duration,
    /// Until the next sign of life.
    sleep: Sleep,
}

enum State<T: Resource> {
    Watching(Changes<T>),
    /// Beginning anew, as the feed no longer reaches back to where the client was.
    Anew(Pin<Box<dyn Future<Output = Result<Changes<T>, Error>> + Send>>, Error),
    Ended,
}

/// One change, as it is written.
#[derive(Serialize)]
struct Told<'a, T> {
    id: &'a str,
    kind: &'static str,
    etag: String,
    /// Left out where it was changed again since.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a T>,
}

impl<T: Resource + Serialize> Events<T> {
    /// From what comes now, or after the last event that the client saw.
    pub(super) async fn begin(
        collection: Collection<T>,
        after: Option<Cursor>,
        pause: Duration,
    ) -> Result<Self, Error> {
        let resumed = after.is_some();
        let watched = collection.watch(after.map_or(Start::Now, Start::After)).await;
        let (state, greeting) = match watched {
            // A comment: a proxy may wait for something before it passes the headers on.
            Ok(changes) if resumed => (State::Watching(changes), Some(Bytes::from_static(b": resumed\n\n"))),
            Ok(changes) => {
                let greeting = event("start", Some(changes.cursor()), "{}");
                (State::Watching(changes), Some(greeting))
            }
            Err(error @ Error::Expired(_)) => (anew(&collection, error), None),
            Err(error) => return Err(error),
        };
        let sleep = collection.retry().clock().sleep(pause);
        Ok(Self { collection, state, greeting, pause, sleep })
    }
}

fn anew<T: Resource>(collection: &Collection<T>, error: Error) -> State<T> {
    let collection = collection.clone();
    State::Anew(Box::pin(async move { collection.watch(Start::Now).await }), error)
}

impl<T: Resource + Serialize> Feeding for Events<T> {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(greeting));
        }
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Watching(changes) => match changes.poll_next(context) {
                    Poll::Ready(Ok(batch)) => return Poll::Ready(Some(changed(&batch))),
                    Poll::Ready(Err(error @ Error::Expired(_))) => self.state = anew(&self.collection, error),
                    Poll::Ready(Err(error)) => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(failed(&Problem::new(error))));
                    }
                    Poll::Pending => break,
                },
                State::Anew(watch, _) => match watch.as_mut().poll(context) {
                    Poll::Ready(began) => return Poll::Ready(Some(self.begin_anew(began))),
                    Poll::Pending => break,
                },
            }
        }
        if self.sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.sleep = self.collection.retry().clock().sleep(self.pause);
        // Not an event, but the place from which the client goes on: others' changes may have moved it.
        Poll::Ready(Some(match &self.state {
            State::Watching(changes) => Bytes::from(format!("id: {}\n\n", changes.cursor())),
            _ => Bytes::from_static(b":\n\n"),
        }))
    }
}

impl<T: Resource + Serialize> Events<T> {
    /// Says that there is a gap, and where the stream begins anew.
    fn begin_anew(&mut self, began: Result<Changes<T>, Error>) -> Bytes {
        match (began, std::mem::replace(&mut self.state, State::Ended)) {
            (Ok(changes), State::Anew(_, expired)) => {
                let told = event("expired", Some(changes.cursor()), &json(&Problem::new(expired)));
                self.state = State::Watching(changes);
                told
            }
            (Err(error), _) => failed(&Problem::new(error)),
            (Ok(_), _) => failed(&Problem::of_status(500)),
        }
    }
}

/// One commit. A value that can't be written as JSON is left out: whoever reads it is told why, and the stream goes on.
fn changed<T: Resource + Serialize>(batch: &Batch<T>) -> Bytes {
    let told = |change: &Change<T>| {
        let kind = if change.is_delete() { "delete" } else { "put" };
        let etag = EntityTag::from(change.version).to_string();
        let told = Told { id: &change.id, kind, etag, value: change.value().map(|value| &**value) };
        serde_json::to_string(&told).unwrap_or_else(|_| json(&Told { value: None, ..told }))
    };
    let changes: Vec<String> = batch.changes.iter().map(told).collect();
    event("changes", Some(&batch.cursor), &format!("[{}]", changes.join(",")))
}

/// The stream ends with it; the client comes again from the last event that it saw.
fn failed(problem: &Problem) -> Bytes {
    event("failed", None, &json(problem))
}

fn json(told: &impl Serialize) -> String {
    serde_json::to_string(told).unwrap_or_else(|_| "{}".to_owned())
}

/// Neither a cursor nor JSON has a line break in it.
fn event(name: &str, id: Option<&Cursor>, data: &str) -> Bytes {
    let id = id.map(|cursor| format!("id: {cursor}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {name}\ndata: {data}\n\n"))
}
