//! What a collection of a database, a lease, a rule and a history cost over the file: `database DIRECTORY` prints microseconds a put, as
//! the median over interleaved rounds, and the ratio to a collection that has the file for itself. `database DIRECTORY hot` prints
//! milliseconds for 1,000 blind puts of 200 threads to one id.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ifmatch::history::History;
use ifmatch::lease::Leases;
use ifmatch::{Collection, Database, File};
use ifmatch_benches::article::{Article, articles};

const IDS: usize = 1_000;
const ROUNDS: usize = 15;
const EACH: usize = 200;

fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).expect("a directory"));
    let open = |name: &str| File::open(directory.join(name)).expect("a file can be made there");
    let alone = Collection::<Vec<u8>>::json(open("alone.ifmatch"));
    let database = Database::new(open("database.ifmatch"));
    let leases = Leases::new(&database, "leases").unwrap();
    let lease = leases.acquire("job", "ann").wait().unwrap();
    let plain = database.collection::<Vec<u8>>("plain").unwrap();
    let under = plain.under(&lease).unwrap();
    let leased = database.define::<Vec<u8>>("leased").unwrap().leased(&leases).open().unwrap();
    let ruled = database
        .define::<Vec<u8>>("ruled")
        .unwrap()
        .rule("any", "anything goes", |_, _| true)
        .open()
        .unwrap();
    let history = History::new(&database, "recorded.history").unwrap();
    let recorded = database.define::<Vec<u8>>("recorded").unwrap().recorded(&history).open().unwrap();
    let ways = [
        ("alone", &alone),
        ("database", &plain),
        ("under a lease", &under),
        ("leased", &leased),
        ("ruled", &ruled),
        ("recorded", &recorded),
    ];
    if std::env::args().nth(2).is_some() {
        return hot(&[("database", &plain), ("ruled", &ruled), ("leased", &leased), ("recorded", &recorded)]);
    }
    let ids: Vec<String> = articles(IDS).into_iter().map(|(id, _): (String, Arc<Article>)| id).collect();
    let value: Arc<Vec<u8>> = Arc::new(vec![7; 100]);

    let mut took = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for (at, (_, way)) in ways.iter().enumerate() {
            let began = Instant::now();
            for turn in 0..EACH {
                way.put(&ids[(round * EACH + turn) % IDS], value.clone()).wait().unwrap();
            }
            // The first round fills what is empty.
            if round > 0 {
                took[at].push(began.elapsed().as_secs_f64() * 1e6 / EACH as f64);
            }
        }
    }
    let base = took[0].clone();
    for ((name, _), took) in ways.iter().zip(&took) {
        let mut ratios: Vec<f64> = took.iter().zip(&base).map(|(took, base)| took / base).collect();
        println!("{name:16} {:8.1} µs   {:.3}", median(&mut took.clone()), median(&mut ratios));
    }
}

fn hot(ways: &[(&str, &Collection<Vec<u8>>)]) {
    let mut took = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for (at, (_, way)) in ways.iter().enumerate() {
            let start = std::sync::Barrier::new(200);
            // From when the first of them goes to when the last one is done.
            let times: Vec<[Instant; 2]> = std::thread::scope(|scope| {
                let thread = |thread| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let began = Instant::now();
                        (0..5).for_each(|turn| drop(way.put("hot", vec![thread, turn]).wait().unwrap()));
                        [began, Instant::now()]
                    })
                };
                let threads: Vec<_> = (0..200).map(thread).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let began = times.iter().map(|[began, _]| *began).min().unwrap();
            let ended = times.iter().map(|[_, ended]| *ended).max().unwrap();
            if round > 0 {
                took[at].push((ended - began).as_secs_f64() * 1e3);
            }
        }
    }
    let base = took[0].clone();
    for ((name, _), took) in ways.iter().zip(&took) {
        let mut ratios: Vec<f64> = took.iter().zip(&base).map(|(took, base)| took / base).collect();
        println!("{name:16} {:8.1} ms   {:.2}", median(&mut took.clone()), median(&mut ratios));
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
