//! The requests that every service here is asked, and what it must answer: one table, and a client over a plain socket.

mod cases;
mod client;

pub use cases::{CASES, Case, Met};
pub use client::{Client, Told};

use std::net::SocketAddr;

/// What a service over HTTP answers otherwise than the table wants, and why.
pub type Otherwise = (&'static str, u16, &'static str);

/// Asks a service over HTTP all of it. Articles of a case have an id of their own, and are made through the service itself.
pub fn drive(address: SocketAddr, otherwise: &[Otherwise]) {
    let mut client = Client::connect(address);
    for (at, case) in CASES.iter().enumerate() {
        let id = format!("case-{at}");
        let (now, old) = meet(&mut client, &id, case.met);
        let headers = case.filled(&now, &old);

        let told = client.ask(case.call, &id, &headers);

        let shown = format!("{} of {:?} with {headers:?}: {}", case.call, case.met, told.body);
        let other = otherwise.iter().find(|(call, ..)| *call == case.call);
        let (status, reason) = other.map_or((case.status, case.reason), |other| (other.1, other.2));
        assert_eq!(told.status, status, "{shown}");
        if case.call != "head" {
            assert_eq!(told.reason(), reason, "{shown}");
        }
        case.hold(&now, told.header("etag"), &shown);
        if told.status >= 400 {
            assert_eq!(told.header("content-type"), Some("application/problem+json"), "{shown}");
            assert_eq!(told.header("cache-control"), Some("no-store"), "{shown}");
            assert!(!told.body.contains("s3cr3t"), "{shown}");
        }
        assert!(told.status != 304 || told.header("content-length").is_none(), "{shown}");
        assert_eq!(told.header("location").is_some(), told.status == 201, "{shown}");
        assert_eq!(told.header("allow").is_some(), told.status == 405, "{shown}");
        // What was refused changed nothing.
        if told.status >= 400 && case.met == Met::Stands {
            let stands = client.ask("read", &id, &[]);
            assert_eq!(stands.header("etag"), Some(&*now), "{shown}");
        }
    }
    let list = client.ask("list", "", &[]);
    assert_eq!(list.status, 200);
    assert!(list.body.contains("\"case-0\""), "{}", list.body);
}

/// Makes what a case meets: the tag that stands there, and one from before.
fn meet(client: &mut Client, id: &str, met: Met) -> (String, String) {
    if met == Met::Nothing {
        return ("\"1\"".to_owned(), "\"1\"".to_owned());
    }
    let tag = |told: Told| {
        assert!(told.status < 300, "{} {}", told.status, told.body);
        told.header("etag").unwrap_or_default().to_owned()
    };
    let old = tag(client.ask("create", id, &[]));
    let now = tag(client.ask("replace", id, &[("if-match", old.clone())]));
    if met == Met::Deleted {
        tag(client.ask("delete", id, &[("if-match", now.clone())]));
    }
    (now, old)
}
