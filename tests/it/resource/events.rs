//! The stream of changes: nothing is left out between two connections, and what can't be told is said.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use ifmatch::http::Terms;
use ifmatch::web::resource;
use ifmatch::{Collection, Commit, Entry, Expected, Memory};
use serde_json::{Value, json};

use crate::serving::Serving;

/// A connection that reads events, as an `EventSource` does.
struct Events {
    lines: BufReader<TcpStream>,
    /// What it sends as `Last-Event-ID` when it comes again.
    last: String,
    status: u16,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: Value,
}

impl Events {
    fn open(serving: &Serving, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        let last_id = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        // 1.0, so that the body comes as it is, without chunks.
        write!(stream, "GET /counts HTTP/1.0\r\naccept: text/event-stream\r\n{last_id}\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while lines.read_line(&mut head).unwrap() > 2 {}
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(status != 200 || head.contains("content-type: text/event-stream"), "{head}");
        Self { lines, last: last.unwrap_or_default().to_owned(), status }
    }

    /// The next event; `None` at the end of the stream. What has no data is no event (as comments, and signs of life).
    fn next(&mut self) -> Option<Event> {
        let mut event = Event { name: "message".to_owned(), data: Value::Null };
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => self.last = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line == "\n" && event.data != Value::Null => return Some(event),
                _ => {}
            }
        }
    }
}

fn serve(memory: Memory<u64>) -> (Collection<u64>, Serving) {
    let counts = Collection::new(memory);
    let routes = resource("/counts", counts.clone()).terms(Terms::new()).pause(Duration::from_millis(20));
    (counts, Serving::new(Router::new().nest_service("/counts", routes)))
}

#[test]
fn a_stream_begins_with_its_place_and_tells_each_commit_as_one_event() {
    let (counts, serving) = serve(Memory::new());
    let mut events = Events::open(&serving, None);
    assert_eq!(events.next(), Some(Event { name: "start".to_owned(), data: json!({}) }));

    let both = Commit::one(Entry::put("a", Expected::Absent, 1.into())).and(Entry::put(
        "b",
        Expected::Absent,
        2.into(),
    ));
    let version = counts.commit(both).wait().unwrap().version().unwrap();
    let etag = format!("\"{version}\"");
    assert_eq!(
        events.next(),
        Some(Event {
            name: "changes".to_owned(),
            data: json!([
                {"id": "a", "kind": "put", "etag": etag, "value": 1},
                {"id": "b", "kind": "put", "etag": etag, "value": 2},
            ]),
        })
    );
    counts.delete("b", version).wait().unwrap();
    let deleted = events.next().unwrap().data;
    assert_eq!((&deleted[0]["kind"], deleted[0].get("value")), (&json!("delete"), None));
}

/// Four writers, and a reader that goes away and comes again a thousand times: it has seen every commit once, in order.
/// Ends the writers.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_client_that_comes_again_misses_nothing_and_sees_nothing_twice() {
    const WRITERS: u64 = 4;
    const CONNECTIONS: u64 = 1000;
    let (counts, serving) = serve(Memory::new().with_feed_limit(1_000_000));
    let mut events = Events::open(&serving, None);
    events.next().unwrap();
    let ended = AtomicBool::new(false);

    let (written, seen) = thread::scope(|scope| {
        let (counts, ended) = (&counts, &ended);
        // Also where the reader panics.
        let end = End(ended);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut written = Vec::new();
                    while !ended.load(Ordering::Relaxed) {
                        let id = format!("{}", written.len() as u64 % 3 + writer);
                        let version = counts.put(&id, written.len() as u64).wait().unwrap().version;
                        written.push((version.to_string(), id));
                        // Not faster than a connection can be made.
                        thread::sleep(Duration::from_micros(200));
                    }
                    written
                })
            })
            .collect();

        let mut seen = Vec::new();
        let take = |events: &mut Events, seen: &mut Vec<(String, String)>| {
            let event = events.next().expect("the stream goes on");
            assert_eq!(event.name, "changes");
            for change in event.data.as_array().unwrap() {
                let tag = change["etag"].as_str().unwrap().trim_matches('"').to_owned();
                seen.push((tag, change["id"].as_str().unwrap().to_owned()));
            }
        };
        for connection in 0..CONNECTIONS {
            (0..connection % 7).for_each(|_| take(&mut events, &mut seen));
            events = Events::open(&serving, Some(&events.last));
        }
        drop(end);
        let mut written: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        let last = counts.put("last", 0).wait().unwrap().version.to_string();
        written.push((last.clone(), "last".to_owned()));
        while seen.last().is_none_or(|(version, _)| *version != last) {
            take(&mut events, &mut seen);
        }
        written.sort_by_key(|(version, _)| version.parse::<u64>().unwrap());
        (written, seen)
    });

    assert!(written.len() > 1000, "{}", written.len());
    assert!(written == seen, "{} were written, {} seen", written.len(), seen.len());
}

#[test]
fn a_client_that_was_away_for_too_long_hears_that_there_is_a_gap_and_goes_on_behind_it() {
    let (counts, serving) = serve(Memory::new().with_feed_limit(4));
    let mut events = Events::open(&serving, None);
    events.next().unwrap();
    let last = events.last.clone();
    drop(events);
    for count in 0..50 {
        counts.put("a", count).wait().unwrap();
    }

    let mut events = Events::open(&serving, Some(&last));
    let expired = events.next().unwrap();
    assert_eq!(
        (&*expired.name, &expired.data["reason"], &expired.data["status"]),
        ("expired", &json!("expired"), &json!(410))
    );
    assert_ne!(events.last, last);

    let next = counts.put("a", 50).wait().unwrap();
    let told = events.next().unwrap();
    assert_eq!(told.data[0]["etag"], format!("\"{}\"", next.version));
    // And from there again.
    let mut events = Events::open(&serving, Some(&events.last));
    counts.put("b", 51).wait().unwrap();
    assert_eq!(events.next().unwrap().data[0]["id"], "b");
}

#[test]
fn a_reader_that_is_too_slow_hears_of_the_gap_on_the_same_stream() {
    let (counts, serving) = serve(Memory::new().with_feed_limit(4));
    let mut events = Events::open(&serving, None);
    events.next().unwrap();
    // More than all buffers on the way hold.
    let long = "x".repeat(200);
    for count in 0..100_000 {
        counts.put(&format!("{long}{}", count % 2), count).wait().unwrap();
    }

    // Of gaps there may be several, and what is written before the last of them falls into it.
    let (mut gaps, mut behind) = (0, 0);
    while behind == 0 {
        let event = events.next().unwrap();
        match &*event.name {
            "expired" => {
                gaps += 1;
                counts.put("behind", gaps).wait().unwrap();
            }
            _ if event.data[0]["id"] == "behind" && event.data[0]["value"] == gaps => behind = gaps,
            _ => {}
        }
    }
}

#[test]
fn what_is_no_place_in_this_feed_is_refused() {
    let (_, serving) = serve(Memory::new());

    for last in ["s3cr3t", "x y", "\u{fc}"] {
        let events = Events::open(&serving, Some(last));
        assert_eq!(events.status, 400, "{last}");
    }
}

/// A sign of life carries the place too: whoever comes again after it does not begin further back than it has to.
#[test]
fn a_silent_stream_gives_signs_of_life() {
    let (_, serving) = serve(Memory::new());
    let mut events = Events::open(&serving, None);
    events.next().unwrap();
    let mut line = String::new();
    events.lines.read_line(&mut line).unwrap();

    assert_eq!(line, format!("id: {}\n", events.last));
}
