//! An outbox: each order and its event are one commit, and a sender that may die at any time delivers every event at least
//! once, and none of an order that was not committed.
//!
//! `cargo run --features file --example outbox -- shop.ifmatch` places orders and delivers their events until it is
//! stopped. Start it again: it goes on where it was. With `drain` behind the file, it delivers what lies there and ends.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::thread;

use ifmatch::collection::{Along, Exit, Part, Step};
use ifmatch::store::Action;
use ifmatch::{Collection, Database, Entry, Error, Expected, File, Start, Version};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    confirmed: bool,
    /// How often it was changed since.
    amended: u32,
}

/// Something that the rest of the world is to hear of.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Event {
    order: String,
    amended: u32,
}

/// Puts an event into the outbox for every new state of a confirmed order, in the order's own commit: whoever writes one,
/// whichever way, can't forget it. Each has an id of its own, so none is written over before it is delivered.
struct Announce {
    outbox: Collection<Event>,
}

impl Step<Order> for Announce {
    fn enter(&self, part: &Part<'_, Order>, along: &mut Along<'_>) -> Result<Exit, Error> {
        for entry in part.entries() {
            if let Action::Put(order) = &entry.action
                && order.confirmed
            {
                let event = Event { order: entry.id.to_owned(), amended: order.amended };
                let id = format!("{}-{}", entry.id, order.amended);
                along.add(&self.outbox, Entry::put(&id, Expected::Any, event.into()))?;
            }
        }
        Ok(Exit::silent())
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (file, drain) = match &arguments[..] {
        [file] => (file, false),
        [file, drain] if drain == "drain" => (file, true),
        _ => return Err("outbox FILE [drain]".into()),
    };
    let shop = Database::new(File::open(file)?);
    let outbox = shop.collection::<Event>("outbox")?;
    let orders = shop.define::<Order>("orders")?.step(Announce { outbox: outbox.clone() }).open()?;

    if drain {
        return Ok(deliver_all(&outbox)?);
    }
    thread::spawn(move || {
        if let Err(error) = send(&outbox) {
            eprintln!("the sender: {error}");
            std::process::exit(1);
        }
    });
    Ok(place_orders(&orders)?)
}

/// Places an order after the other, confirms it, and changes it twice.
fn place_orders(orders: &Collection<Order>) -> Result<(), Error> {
    for number in 0.. {
        // Another process has placed orders before, and got as far as it got.
        let id = format!("o{number}-{}", std::process::id());
        let order = Order { item: format!("{number} apples"), confirmed: false, amended: 0 };
        orders.create(&id, order).wait()?;
        orders.modify(&id, |order| order.confirmed = true).wait()?;
        print(&format!("confirmed {id}"));
        for _ in 0..2 {
            orders.modify(&id, |order| order.amended += 1).wait()?;
        }
    }
    Ok(())
}

/// Delivers what lies in the outbox, then what comes, for ever.
fn send(outbox: &Collection<Event>) -> Result<(), Error> {
    loop {
        // The watch first: what is put between it and the listing is seen twice, and nothing is missed.
        let mut changes = outbox.watch(Start::Now).wait()?;
        deliver_all(outbox)?;
        loop {
            let batch = match changes.next().wait() {
                Ok(batch) => batch,
                // It fell behind further than the store remembers: what it missed lies in the outbox.
                Err(Error::Expired(_)) => break,
                Err(error) => return Err(error),
            };
            for change in &batch.changes {
                if let Some(event) = change.value() {
                    deliver(outbox, &change.id, change.version, event)?;
                }
            }
        }
    }
}

fn deliver_all(outbox: &Collection<Event>) -> Result<(), Error> {
    let mut pages = outbox.list("");
    while let Some(page) = pages.next().wait()? {
        for (id, event) in &page.items {
            deliver(outbox, id, event.version, &event.value)?;
        }
    }
    Ok(())
}

/// Delivers, and only then takes the event out. Who dies in between delivers it again: the receiver knows it by its id.
fn deliver(outbox: &Collection<Event>, id: &str, version: Version, event: &Event) -> Result<(), Error> {
    print(&format!("delivered {} {}", event.order, event.amended));
    match outbox.delete(id, version).wait() {
        // It is out already, or another one was put in its place: that one is delivered by itself.
        Err(Error::Conflict(_) | Error::NotFound(_)) => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// A line on standard output, at once and as a whole. Nobody may be listening.
fn print(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line} .");
}
