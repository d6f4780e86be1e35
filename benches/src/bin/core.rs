//! The figures of `src/docs/performance.md`: every contender in turn, in interleaved rounds.
//!
//! `core` runs everything and writes `benches/results/core.tsv`; `core get swap` runs the scenarios whose names begin
//! so and writes nothing. What needs a fresh process runs this program again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ifmatch::store::{Abilities, Changes, Committed, Listed, Page, Resolution, Scan, WriteId};
use ifmatch::{Collection, Commit, Entry, Memory, Reply, Retry, Start, Store, Versioned};
use ifmatch_benches::article::{Article, Random, articles, id, number, shuffled};
use ifmatch_benches::heap::resident;
use ifmatch_benches::peers::{Bare, ByHand, InRow, List, Locked, Moka, Objects, Ours, Peer, Raw, Row};
use ifmatch_benches::rounds::{Contender, Measured, measure, median, processor_time};

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(20);

/// Fits into the second-level cache.
const IN_CACHE: usize = 1_000;
/// Does not.
const OUT_OF_CACHE: usize = 100_000;
const MILLION: usize = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--memory", what, count] => {
            return println!("{}", memory_of(what, count.parse().expect("a number")));
        }
        ["--worst", what] => return println!("{}", worst_insert_of(what)),
        _ => {}
    }
    let scenarios: [(&str, fn() -> Vec<Line>); 10] = [
        ("get", get),
        ("swap", swap),
        ("edit", edit),
        ("mix", mix),
        ("pair", pair),
        ("two", two),
        ("memory", memory),
        ("worst", worst),
        ("growth", growth),
        ("hot", hot),
    ];
    let chosen =
        |name: &str| arguments.is_empty() || arguments.iter().any(|start| name.starts_with(start.as_str()));
    let mut lines = Vec::new();
    for (_, run) in scenarios.iter().filter(|(name, _)| chosen(name)) {
        let new = run();
        new.iter().for_each(|line| println!("{line}"));
        lines.extend(new);
    }
    if arguments.is_empty() {
        write(&lines);
    }
}

/// A line of the table.
struct Line {
    scenario: String,
    contender: String,
    figure: f64,
    unit: &'static str,
    /// Our figure by this one, and the middle half of that over the rounds.
    ratio: Option<(f64, f64, f64)>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:44} {:40} {:10.1} {:9}", self.scenario, self.contender, self.figure, self.unit)?;
        match self.ratio {
            Some((ratio, low, high)) => write!(f, "  {ratio:5.2}  ({low:.2} to {high:.2})"),
            None => Ok(()),
        }
    }
}

fn write(lines: &[Line]) {
    let mut text = "scenario\tcontender\tfigure\tunit\tratio\tlow\thigh\n".to_owned();
    for Line { scenario, contender, figure, unit, ratio } in lines {
        let ratio = ratio.map_or_else(
            || "\t\t".to_owned(),
            |(ratio, low, high)| format!("{ratio:.4}\t{low:.4}\t{high:.4}"),
        );
        writeln!(text, "{scenario}\t{contender}\t{figure:.2}\t{unit}\t{ratio}")
            .expect("memory takes any text");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/core.tsv");
    std::fs::write(path, text).expect("the results can be written");
}

fn lines(measured: &Measured) -> Vec<Line> {
    let line = |result: &ifmatch_benches::rounds::ResultOf| Line {
        scenario: measured.scenario.clone(),
        contender: result.name.to_owned(),
        figure: result.nanoseconds,
        unit: "ns",
        ratio: Some((result.ratio, result.spread.0, result.spread.1)),
    };
    measured.results.iter().map(line).collect()
}

/// A peer that holds these articles, their ids and stamps.
struct Filled<P: Peer> {
    peer: P,
    ids: Vec<P::Id>,
    stamps: Vec<P::Stamp>,
    values: Vec<P::Value>,
}

impl<P: Peer> Filled<P> {
    fn new(count: usize) -> Self {
        let peer = P::new();
        let articles = articles(count);
        let mut stamps: Vec<Option<P::Stamp>> = vec![None; count];
        for (id, article) in &articles {
            stamps[number(id)] = Some(peer.create(&P::id(id), P::value(article)));
        }
        peer.settle();
        Self {
            peer,
            ids: (0..count).map(|number| P::id(&id(number))).collect(),
            stamps: stamps.into_iter().map(|stamp| stamp.expect("each was created")).collect(),
            values: articles.iter().take(16).map(|(_, article)| P::value(article)).collect(),
        }
    }

    fn chain(&self) -> Contender<'_> {
        let mut at = 0;
        Contender::new(P::NAME, move |count| at = self.peer.follow(&self.ids, at, count))
    }

    fn swaps(&mut self) -> Contender<'_> {
        let mut random = Random::new(7);
        Contender::new(P::NAME, move |count| {
            for turn in 0..count {
                let at = random.below(self.ids.len());
                let value = self.values[turn % 16].clone();
                let swapped = self.peer.swap(&self.ids[at], &self.stamps[at], value);
                self.stamps[at] = swapped.expect("nobody else writes");
            }
        })
    }

    /// 95 reads to 5 compare-and-swaps.
    fn mix(&mut self) -> Contender<'_> {
        let mut random = Random::new(9);
        Contender::new(P::NAME, move |count| {
            for turn in 0..count {
                let at = random.below(self.ids.len());
                if turn % 20 != 19 {
                    black_box(self.peer.read(&self.ids[at]));
                    continue;
                }
                let value = self.values[turn % 16].clone();
                let swapped = self.peer.swap(&self.ids[at], &self.stamps[at], value);
                self.stamps[at] = swapped.expect("nobody else writes");
            }
        })
    }

    /// Creates an id and deletes one: the same, or with `lag` the one created that many pairs before.
    fn pairs(&self, lag: usize) -> Contender<'_> {
        let ids: Vec<P::Id> = (0..4_000).map(|number| P::id(&id(number * 997 % MILLION + MILLION))).collect();
        let mut live = std::collections::VecDeque::with_capacity(lag + 1);
        let mut next = 0;
        Contender::new(P::NAME, move |count| {
            for turn in 0..count {
                let stamp = self.peer.create(&ids[next], self.values[turn % 16].clone());
                live.push_back((next, stamp));
                next = (next + 1) % ids.len();
                if live.len() > lag {
                    let (at, stamp) = live.pop_front().expect("one was just pushed");
                    self.peer.delete(&ids[at], &stamp);
                }
            }
        })
    }
}

fn sizes() -> [(&'static str, usize); 2] {
    [("1,000 ids", IN_CACHE), ("100,000 ids", OUT_OF_CACHE)]
}

fn get() -> Vec<Line> {
    let scenario = |(size, count): (&str, usize)| {
        let bare = Bare(articles(count).into_iter().collect());
        let mut at = 0;
        let bare = Contender::new("HashMap (one thread)", move |count| at = bare.follow(at, count));
        let list = List::new(&articles(count));
        let mut at = 0;
        let list = Contender::new("no look-up (one thread)", move |count| at = list.follow(at, count));
        let (ours, raw, by_hand, in_row) = (
            Filled::<Ours>::new(count),
            Filled::<Raw>::new(count),
            Filled::<ByHand>::new(count),
            Filled::<InRow>::new(count),
        );
        let (locked, moka, objects) =
            (Filled::<Locked>::new(count), Filled::<Moka>::new(count), Filled::<Objects>::new(count));
        let contenders = vec![
            ours.chain(),
            list,
            bare,
            raw.chain(),
            by_hand.chain(),
            in_row.chain(),
            locked.chain(),
            moka.chain(),
            objects.chain(),
        ];
        lines(&measure(format!("get, {size}"), ROUNDS, SLICE, contenders))
    };
    sizes().into_iter().flat_map(scenario).collect()
}

fn swap() -> Vec<Line> {
    let scenario = |(size, count): (&str, usize)| {
        let (mut ours, mut raw, mut by_hand, mut in_row) = (
            Filled::<Ours>::new(count),
            Filled::<Raw>::new(count),
            Filled::<ByHand>::new(count),
            Filled::<InRow>::new(count),
        );
        let (mut locked, mut moka, mut objects) =
            (Filled::<Locked>::new(count), Filled::<Moka>::new(count), Filled::<Objects>::new(count));
        let contenders = vec![
            ours.swaps(),
            raw.swaps(),
            by_hand.swaps(),
            in_row.swaps(),
            locked.swaps(),
            moka.swaps(),
            objects.swaps(),
        ];
        lines(&measure(format!("compare-and-swap, {size}"), ROUNDS, SLICE, contenders))
    };
    sizes().into_iter().flat_map(scenario).collect()
}

fn mix() -> Vec<Line> {
    let scenario = |(size, count): (&str, usize)| {
        let (mut ours, mut raw, mut by_hand, mut in_row) = (
            Filled::<Ours>::new(count),
            Filled::<Raw>::new(count),
            Filled::<ByHand>::new(count),
            Filled::<InRow>::new(count),
        );
        let (mut locked, mut moka, mut objects) =
            (Filled::<Locked>::new(count), Filled::<Moka>::new(count), Filled::<Objects>::new(count));
        let contenders =
            vec![ours.mix(), raw.mix(), by_hand.mix(), in_row.mix(), locked.mix(), moka.mix(), objects.mix()];
        lines(&measure(format!("95 get / 5 compare-and-swap, {size}"), ROUNDS, SLICE, contenders))
    };
    sizes().into_iter().flat_map(scenario).collect()
}

/// Read, clone the value, change it, commit.
fn edit() -> Vec<Line> {
    fn edits<P: Peer<Id = String, Value = Arc<Article>>>(filled: &Filled<P>) -> Contender<'_> {
        let mut random = Random::new(11);
        Contender::new(P::NAME, move |count| {
            for turn in 0..count {
                let id = &filled.ids[random.below(filled.ids.len())];
                let (stamp, value) = filled.peer.read(id);
                let mut article = Article::clone(&value);
                article.tags[0].replace_range(4.., if turn % 2 == 0 { "even" } else { "odds" });
                drop(value);
                filled.peer.swap(id, &stamp, Arc::new(article)).expect("nobody else writes");
            }
        })
    }
    let scenario = |(size, count): (&str, usize)| {
        let (ours, raw, by_hand) =
            (Filled::<Ours>::new(count), Filled::<Raw>::new(count), Filled::<ByHand>::new(count));
        let contenders = vec![edits(&ours), edits(&raw), edits(&by_hand)];
        lines(&measure(format!("read-clone-commit, {size}"), ROUNDS, SLICE, contenders))
    };
    sizes().into_iter().flat_map(scenario).collect()
}

fn pair() -> Vec<Line> {
    let scenario = |(size, count): (&str, usize)| {
        [("create + delete", 0), ("create + delete 1,000 later", 1_000)].map(|(name, lag)| {
            let (ours, watched, raw) =
                (Filled::<Ours>::new(count), Filled::<Ours>::new(count), Filled::<Raw>::new(count));
            let changes = watched.peer.0.watch(Start::Now).wait().expect("memory can be watched");
            let watching = Contender { name: "ifmatch, watched", ..watched.pairs(lag) };
            let mut measured = measure(
                format!("{name}, {size}"),
                ROUNDS,
                SLICE,
                vec![raw.pairs(lag), ours.pairs(lag), watching],
            );
            // Here the other two are to be compared with the map.
            for result in &mut measured.results {
                result.ratio = 1.0 / result.ratio;
                result.spread = (1.0 / result.spread.1, 1.0 / result.spread.0);
            }
            drop(changes);
            measured
        })
    };
    sizes().into_iter().flat_map(scenario).flat_map(|measured| lines(&measured)).collect()
}

/// Commits over two ids on two threads. The global lock is a `Mutex<HashMap>` with a revision, held while both are
/// compared and replaced; where the values are made anew, it is held for that too, as whoever takes one lock would.
fn two() -> Vec<Line> {
    #[derive(Clone, Copy, PartialEq)]
    enum Values {
        Prepared,
        Cloned,
    }
    const COUNT: usize = IN_CACHE;
    let all: Vec<(String, Arc<Article>)> = articles(COUNT);
    let changed = |value: &Article| {
        let mut article = value.clone();
        article.tags[0].replace_range(4.., "both");
        Arc::new(article)
    };
    // Each thread has its own: a count that two threads change would cost more than what is measured.
    let prepared = [(); 2].map(|()| articles(COUNT).into_iter().map(|(_, value)| value).collect::<Vec<_>>());
    let timed = |work: &(dyn Fn(&mut Random, &[Arc<Article>], usize) + Sync), count: usize| {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for (seed, values) in (1..).zip(&prepared) {
                scope.spawn(move || work(&mut Random::new(seed), values, count / 2));
            }
        });
        begin.elapsed()
    };
    let pick = |random: &mut Random| {
        let a = random.below(COUNT);
        (a, (a + 1 + random.below(COUNT - 1)) % COUNT)
    };
    let mut measured = Vec::new();
    for (name, values) in [("prepared values", Values::Prepared), ("read-clone-commit", Values::Cloned)] {
        let ours = Filled::<Ours>::new(COUNT);
        let our_work = |random: &mut Random, prepared: &[Arc<Article>], count: usize| {
            for turn in 0..count {
                let (a, b) = pick(random);
                let (a, b) = (&ours.ids[a], &ours.ids[b]);
                loop {
                    let ((one, left), (other, right)) = (ours.peer.read(a), ours.peer.read(b));
                    let (left, right) = match values {
                        Values::Prepared => {
                            (Arc::clone(&prepared[turn % COUNT]), Arc::clone(&prepared[(turn + 1) % COUNT]))
                        }
                        Values::Cloned => (changed(&left), changed(&right)),
                    };
                    let both = Commit::one(Entry::put(a, one, left)).and(Entry::put(b, other, right));
                    if ours.peer.0.commit(both).wait().is_ok() {
                        break;
                    }
                }
            }
        };
        let rows: HashMap<String, Row> = all
            .iter()
            .map(|(id, value)| (id.clone(), Row { revision: 0, value: Arc::clone(value) }))
            .collect();
        let locked = Mutex::new(rows);
        let lock_work = |random: &mut Random, prepared: &[Arc<Article>], count: usize| {
            for turn in 0..count {
                let (a, b) = pick(random);
                let mut old = Vec::with_capacity(2);
                let mut rows = locked.lock().unwrap();
                for (place, at) in [a, b].into_iter().enumerate() {
                    let row = rows.get_mut(&ours.ids[at]).expect("it is there");
                    let value = match values {
                        Values::Prepared => Arc::clone(&prepared[(turn + place) % COUNT]),
                        Values::Cloned => changed(&row.value),
                    };
                    old.push(std::mem::replace(row, Row { revision: row.revision + 1, value }));
                }
                drop(rows);
            }
        };
        let contenders = vec![
            Contender::timed("ifmatch", |count| timed(&our_work, count)),
            Contender::timed("one global lock", |count| timed(&lock_work, count)),
        ];
        let scenario = format!("two ids on two threads, {name}");
        measured.push(measure(scenario, 2 * ROUNDS + 1, SLICE, contenders));
    }
    measured.iter().flat_map(lines).collect()
}

/// This program's output with these arguments, as a number.
fn fresh(arguments: &[&str]) -> f64 {
    let program = std::env::current_exe().expect("a program has a path");
    let output = Command::new(program).args(arguments).output().expect("it runs again");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn memory_of(what: &str, count: usize) -> f64 {
    // The values are made one by one: what is made beside the store would count too.
    let order = shuffled(count);
    let made =
        order.iter().map(|&number| (id(number), Arc::new(Article::new(number, id(count - 1 - number)))));
    let before = resident();
    let after = match what {
        "bare" => {
            let mut all = Vec::with_capacity(count);
            all.extend(made);
            let after = resident();
            black_box(all);
            after
        }
        "ifmatch" => fill::<Ours>(made),
        "dashmap" => fill::<Raw>(made),
        "by-hand" => fill::<ByHand>(made),
        "moka" => fill::<Moka>(made),
        _ => panic!("no such contender"),
    };
    (after - before) as f64 / count as f64
}

fn fill<P: Peer<Id = String, Value = Arc<Article>>>(
    made: impl Iterator<Item = (String, Arc<Article>)>,
) -> usize {
    let peer = P::new();
    made.for_each(|(id, article)| drop(peer.create(&id, article)));
    let after = resident();
    black_box(peer);
    after
}

fn memory() -> Vec<Line> {
    let mut lines = Vec::new();
    for count in [OUT_OF_CACHE, 400_000, MILLION] {
        let bare = fresh(&["--memory", "bare", &count.to_string()]);
        for what in ["bare", "ifmatch", "dashmap", "by-hand", "moka"] {
            let figure = fresh(&["--memory", what, &count.to_string()]);
            let ratio = figure / bare;
            lines.push(Line {
                scenario: format!("memory a resource, {count} ids"),
                contender: what.to_owned(),
                figure,
                unit: "B",
                ratio: Some((ratio, ratio, ratio)),
            });
        }
    }
    lines
}

/// The slowest of the inserts of a million ids, in milliseconds.
fn worst_insert_of(what: &str) -> f64 {
    fn slowest<P: Peer<Id = String, Value = Arc<Article>>>() -> f64 {
        let peer = P::new();
        let value = Arc::new(Article::new(1, id(1)));
        let order = shuffled(MILLION);
        let mut slowest = Duration::ZERO;
        for number in order {
            let id = id(number);
            // The processor's time: what else runs on the machine is no pause of the store's.
            let begin = processor_time();
            peer.create(&id, Arc::clone(&value));
            slowest = slowest.max(processor_time() - begin);
        }
        slowest.as_secs_f64() * 1_000.0
    }
    match what {
        "ifmatch" => slowest::<Ours>(),
        "dashmap" => slowest::<Raw>(),
        "by-hand" => slowest::<ByHand>(),
        "locked" => slowest::<Locked>(),
        _ => panic!("no such contender"),
    }
}

fn worst() -> Vec<Line> {
    let line = |what: &str| Line {
        scenario: "worst single insert up to 1,000,000 ids".to_owned(),
        contender: what.to_owned(),
        figure: median(&[(); 5].map(|()| fresh(&["--worst", what]))),
        unit: "ms",
        ratio: None,
    };
    ["ifmatch", "dashmap", "by-hand", "locked"].map(line).into()
}

/// What an operation costs at a million ids, as a multiple of what it costs at a thousand.
fn growth() -> Vec<Line> {
    let counts = [1_000, 10_000, 100_000, MILLION];
    let mut figures: Vec<(String, &str, Vec<f64>)> = Vec::new();
    let mut add = |measured: Measured| {
        for result in measured.results {
            let name = measured.scenario.clone();
            match figures
                .iter_mut()
                .find(|(scenario, contender, _)| *scenario == name && *contender == result.name)
            {
                Some((_, _, list)) => list.push(result.nanoseconds),
                None => figures.push((name, result.name, vec![result.nanoseconds])),
            }
        }
    };
    for count in counts {
        let mut ours = Filled::<Ours>::new(count);
        let bare = Bare(articles(count).into_iter().collect());
        let mut at = 0;
        let follow = Contender::new("HashMap", |count| at = bare.follow(at, count));
        add(measure("get", ROUNDS, SLICE, vec![ours.chain(), follow]));

        let Bare(mut map) = bare;
        let ids: Vec<String> = (0..count).map(id).collect();
        let values: Vec<Arc<Article>> = ours.values.clone();
        let mut random = Random::new(7);
        let replace = Contender::new("HashMap", |times| {
            for turn in 0..times {
                let row = map.get_mut(&ids[random.below(count)]).expect("it is there");
                *row = Arc::clone(&values[turn % 16]);
            }
        });
        add(measure("commit", ROUNDS, SLICE, vec![ours.swaps(), replace]));

        let mut random = Random::new(13);
        let scattered = Contender::new("ifmatch, page anywhere", |pages| {
            for _ in 0..pages {
                let after = id(random.below(count - 101));
                black_box(ours.peer.0.scan("", Some(&after), 100).wait().expect("memory does not fail"));
            }
        });
        add(measure("page of 100", ROUNDS, SLICE, vec![scattered]));
        let middle = id(count / 2);
        let same = Contender::new("ifmatch, same page", |pages| {
            for _ in 0..pages {
                black_box(ours.peer.0.scan("", Some(&middle), 100).wait().expect("memory does not fail"));
            }
        });
        add(measure("page of 100", ROUNDS, SLICE, vec![same]));
    }
    let mut lines = Vec::new();
    for (scenario, contender, figures) in figures {
        for (count, figure) in counts.into_iter().zip(&figures) {
            let ratio = figure / figures[0];
            lines.push(Line {
                scenario: format!("growth of {scenario}, {count} ids"),
                contender: contender.to_owned(),
                figure: *figure,
                unit: "ns",
                ratio: Some((ratio, ratio, ratio)),
            });
        }
    }
    lines
}

/// A store whose commits take a millisecond, as those of a store across a network do.
struct Slow {
    inner: Memory<u64>,
    commits: AtomicUsize,
}

impl Store<u64> for Slow {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
        self.inner.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
        self.inner.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.inner.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
        self.inner.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u64>> {
        self.inner.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }
}

/// Writers of one id, ten commits each: attempts a commit, and commits a second.
fn hot() -> Vec<Line> {
    const EACH: usize = 10;
    let run = |writers: usize, retry: Retry| {
        let store = Arc::new(Slow { inner: Memory::new(), commits: AtomicUsize::new(0) });
        let retry = retry.attempts(u32::MAX).deadline(Duration::from_secs(600));
        let counters = Collection::new(Arc::clone(&store)).with_retry(retry);
        counters.create("counter", 0).wait().expect("it is absent");
        store.commits.store(0, Ordering::Relaxed);
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        counters
                            .modify("counter", |count| *count += 1)
                            .wait()
                            .expect("there are enough attempts");
                    }
                });
            }
        });
        let seconds = begin.elapsed().as_secs_f64();
        let commits = (writers * EACH) as f64;
        assert_eq!(*counters.fetch("counter").wait().expect("it is there").value as usize, writers * EACH);
        (store.commits.load(Ordering::Relaxed) as f64 / commits, commits / seconds)
    };
    let mut lines = Vec::new();
    for writers in [2, 4, 8, 16, 32, 64] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 0..9 {
            for turn in 0..2 {
                match (round + turn) % 2 {
                    0 => with.push(run(writers, Retry::default())),
                    _ => without.push(run(writers, Retry::default().without_gate())),
                }
            }
        }
        for (name, runs) in [("gate", &with), ("no gate", &without)] {
            let attempts: Vec<f64> = runs.iter().map(|run| run.0).collect();
            let speeds: Vec<f64> = runs.iter().map(|run| run.1).collect();
            let ratios: Vec<f64> = with.iter().zip(runs).map(|(gate, run)| gate.1 / run.1).collect();
            let ratio = median(&ratios);
            for (figure, unit, ratio) in [
                (median(&attempts), "attempts", None),
                (median(&speeds), "commits/s", Some((ratio, ratio, ratio))),
            ] {
                let scenario = format!("hot id, {writers} writers");
                lines.push(Line { scenario, contender: name.to_owned(), figure, unit, ratio });
            }
        }
    }
    lines
}
