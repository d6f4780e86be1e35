//! The outbox of `examples/outbox.rs`, killed a hundred times.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ifmatch::{Collection, Database, File};

use crate::articles::built;
use crate::file::Directory;

const KILLS: u64 = 100;

/// What a run of the example has told: which orders were confirmed, and of which ones events were delivered.
#[derive(Default)]
struct Told {
    confirmed: BTreeSet<String>,
    delivered: BTreeSet<(String, u64)>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        // The last line may have been cut.
        match line.strip_suffix(" .").and_then(|line| line.split_once(' ')) {
            Some(("confirmed", id)) => drop(self.confirmed.insert(id.to_owned())),
            Some(("delivered", event)) => {
                let (order, amended) = event.split_once(' ').unwrap();
                self.delivered.insert((order.to_owned(), amended.parse().unwrap()));
            }
            _ => {}
        }
    }
}

fn run(example: &Path, arguments: &[&Path], after: Option<Duration>, told: &mut Told) {
    let mut child = Command::new(example).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::scope(|scope| {
        let (working, works) = mpsc::channel();
        scope.spawn(move || {
            if let Some(after) = after {
                let _ = works.recv();
                thread::sleep(after);
                child.kill().unwrap();
            }
            let ended = child.wait().unwrap();
            assert!(after.is_some() || ended.success());
        });
        for line in lines {
            told.hear(&line.unwrap());
            let _ = working.send(());
        }
    });
}

#[test]
fn every_event_is_delivered_and_none_of_an_order_that_was_not_committed() {
    let example = built("outbox");
    let directory = Directory::new();
    let path = directory.file();
    let mut told = Told::default();
    for kill in 0..KILLS {
        run(&example, &[&path], Some(Duration::from_micros(kill * 7919 % 30_000)), &mut told);
    }
    let last_run = told.delivered.len();
    run(&example, &[&path, Path::new("drain")], None, &mut told);

    let shop = Database::new(File::open(&path).unwrap());
    let orders: Collection<serde_json::Value> = shop.collection("orders").unwrap();
    let outbox: Collection<serde_json::Value> = shop.collection("outbox").unwrap();
    let (mut confirmed, mut events) = (BTreeSet::new(), BTreeSet::new());
    let mut pages = orders.list("");
    while let Some(page) = pages.next().wait().unwrap() {
        for (id, order) in page.items.iter().filter(|(_, order)| order.value["confirmed"] == true) {
            confirmed.insert(id.to_string());
            let amended = order.value["amended"].as_u64().unwrap();
            events.extend((0..=amended).map(|amended| (id.to_string(), amended)));
        }
    }
    assert_eq!(told.delivered, events, "the events that were delivered, and those of what was committed");
    assert!(told.confirmed.is_subset(&confirmed), "an order that was acknowledged is gone");
    assert!(outbox.scan_ids("", None, 1).wait().unwrap().items.is_empty());
    println!(
        "{KILLS} kills, {} orders, {} events left to the last run",
        confirmed.len(),
        events.len() - last_run
    );
    assert!(confirmed.len() > 100);
}
