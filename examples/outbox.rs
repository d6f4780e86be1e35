//! An outbox: each order and its event are one commit, and a sender that may die at any time delivers every event at least
//! once, and none of an order that was not committed.
//!
//! `cargo run --features file --example outbox -- shop.ifmatch` places orders and delivers their events until it is
//! stopped. Start it again: it goes on where it was. With `drain` behind the file, it delivers what lies there and ends.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::thread;

use ifmatch::collection::{Along, Exit, Step};
use ifmatch::store::Action;
use ifmatch::{Collection, Commit, Database, Entry, Error, Expected, File, Start};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    confirmed: bool,
}

/// Something that the rest of the world is to hear of.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Event {
    text: String,
}

/// Puts an event into the outbox for every order that is confirmed, in the order's own commit: whoever confirms one,
/// whichever way, can't forget it.
struct Announce {
    outbox: Collection<Event>,
}

impl Step<Order> for Announce {
    fn enter(&self, part: &Commit<'_, Order>, along: &mut Along<'_>) -> Result<Exit, Error> {
        for entry in part.entries() {
            if let Action::Put(order) = &entry.action
                && order.confirmed
            {
                let event = Event { text: format!("{} confirmed: {}", entry.id, order.item) };
                along.add(&self.outbox, Entry::put(entry.id, Expected::Any, event.into()))?;
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
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&outbox));
        let placed = place_orders(&orders);
        sender.join().unwrap_or(Ok(())).and(placed)
    })?;
    Ok(())
}

/// Places an order after the other, and confirms it.
fn place_orders(orders: &Collection<Order>) -> Result<(), Error> {
    for number in 0.. {
        // Another process has placed orders before, and got as far as it got.
        let id = format!("o{number}-{}", std::process::id());
        let order = Order { item: format!("{number} apples"), confirmed: false };
        orders.create(&id, order).wait()?;
        orders.modify(&id, |order| order.confirmed = true).wait()?;
        print(&format!("confirmed {id}"));
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
                    deliver(outbox, &change.id, event)?;
                }
            }
        }
    }
}

fn deliver_all(outbox: &Collection<Event>) -> Result<(), Error> {
    let mut pages = outbox.list("");
    while let Some(page) = pages.next().wait()? {
        for (id, event) in &page.items {
            deliver(outbox, id, &event.value)?;
        }
    }
    Ok(())
}

/// Delivers, and only then takes the event out. Who dies in between delivers it again: the receiver knows it by its id.
fn deliver(outbox: &Collection<Event>, id: &str, event: &Event) -> Result<(), Error> {
    print(&format!("delivered {id} {}", event.text));
    outbox.delete(id, Expected::Any).wait()?;
    Ok(())
}

/// A line on standard output, at once and as a whole. Nobody may be listening.
fn print(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line} .");
}
