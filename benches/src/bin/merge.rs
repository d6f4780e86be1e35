//! What a merge costs beside one parse of the document: `merge`, with the feature of that name, prints microseconds, as the median over interleaved rounds, and the
//! ratio to the parse. The document is a record of 10 KiB, and each side makes ten of twenty edits that do not overlap.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use ifmatch::merge::Merge;
use ifmatch_benches::rounds::{Contender, measure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(40);
const ENTRIES: usize = 40;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    title: String,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    text: String,
    price: f64,
    count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    tags: Vec<String>,
    at: Place,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    shelf: u32,
    row: u32,
}

fn record() -> Record {
    let entry = |at: usize| Entry {
        name: format!("entry number {at}"),
        text: "First words, and some more of them. ".repeat(3),
        price: at as f64 * 1.25 + 0.1,
        count: at as u32,
        note: (at % 2 == 0).then(|| "fragile".to_owned()),
        tags: vec!["new".to_owned(), "short".to_owned()],
        at: Place { shelf: at as u32 / 7, row: at as u32 % 7 },
    };
    let entries = (0..ENTRIES).map(|at| (format!("e{at:03}"), entry(at))).collect();
    Record { title: "All of it".to_owned(), entries }
}

/// Ten edits, of every fourth entry from the one of this number on.
fn edited(first: usize) -> Record {
    let mut record = record();
    for (at, entry) in record.entries.values_mut().enumerate().filter(|(at, _)| at % 4 == first) {
        match at % 3 {
            0 => entry.count += 1,
            1 => entry.text.push_str("Last words."),
            _ => entry.at.row += 1,
        }
    }
    record
}

fn main() {
    let typed = [record(), edited(0), edited(1)];
    let text = serde_json::to_string(&typed[0]).expect("a record is JSON");
    let values = typed.clone().map(|record| -> Value {
        serde_json::from_str(&serde_json::to_string(&record).expect("a record is JSON")).expect("it is JSON")
    });
    println!("{} bytes", text.len());
    let merge = Merge::new();
    let run = |mut once: Box<dyn FnMut()>| move |operations: usize| (0..operations).for_each(|_| once());
    let contenders = vec![
        Contender::new("parse", {
            let text = text.clone();
            run(Box::new(move || drop(black_box(serde_json::from_str::<Value>(&text).expect("it is JSON")))))
        }),
        Contender::new("parse, typed", {
            run(Box::new(move || {
                drop(black_box(serde_json::from_str::<Record>(&text).expect("it is a record")))
            }))
        }),
        Contender::new("values", {
            let merge = merge.clone();
            let [base, mine, theirs] = values;
            run(Box::new(move || drop(black_box(merge.values(&base, &mine, &theirs).expect("no overlap")))))
        }),
        Contender::new("typed", {
            let [base, mine, theirs] = typed;
            run(Box::new(move || drop(black_box(merge.typed(&base, &mine, &theirs).expect("no overlap")))))
        }),
    ];
    let measured = measure("merge", ROUNDS, SLICE, contenders);
    for name in ["parse", "parse, typed", "values", "typed"] {
        let of = measured.of(name);
        println!("{name:14} {:8.1} µs   {:.2} × a parse", of.nanoseconds / 1e3, 1.0 / of.ratio);
    }
}
