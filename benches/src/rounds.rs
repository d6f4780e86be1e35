//! Interleaved rounds: every contender runs a slice in each, in rotating order, so that whatever disturbs the machine
//! disturbs all of them. Only ratios within a round are compared.

use std::time::Duration;
#[cfg(any(feature = "etcd", feature = "postgres"))]
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
#[cfg(any(feature = "etcd", feature = "postgres"))]
use tokio::runtime::Runtime;

/// One thing to be timed.
pub struct Contender<'a> {
    pub name: &'static str,
    /// Runs this many operations and says how long they took.
    pub run: Box<dyn FnMut(usize) -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// Times all of `run` by the time the processor spends on this thread.
    pub fn new(name: &'static str, mut run: impl FnMut(usize) + 'a) -> Self {
        Self::timed(name, move |operations| {
            let begin = processor_time();
            run(operations);
            processor_time() - begin
        })
    }

    /// Lets `run` say what it took.
    pub fn timed(name: &'static str, run: impl FnMut(usize) -> Duration + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// How long the processor has worked for this thread.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs an operation again and again in the runtime, and tells how long that took.
#[cfg(any(feature = "etcd", feature = "postgres"))]
pub fn timed(runtime: &Runtime, operations: usize, mut once: impl AsyncFnMut()) -> Duration {
    let begin = Instant::now();
    runtime.block_on(async {
        for _ in 0..operations {
            once().await;
        }
    });
    begin.elapsed()
}

/// What the rounds of one scenario gave.
pub struct Measured {
    pub scenario: String,
    pub results: Vec<ResultOf>,
}

/// One contender's figures.
pub struct ResultOf {
    pub name: &'static str,
    /// Median over the rounds.
    pub nanoseconds: f64,
    /// Median over the rounds of the first contender's time by this one's.
    pub ratio: f64,
    /// The middle half of those ratios.
    pub spread: (f64, f64),
}

impl Measured {
    /// The first contender's time as a share of this one's.
    pub fn ratio(&self, name: &str) -> f64 {
        self.of(name).ratio
    }

    pub fn of(&self, name: &str) -> &ResultOf {
        self.results.iter().find(|result| result.name == name).expect("a contender of that name")
    }
}

/// Runs the rounds. The first contender is the one the others are compared with.
pub fn measure(
    scenario: impl Into<String>,
    rounds: usize,
    slice: Duration,
    mut contenders: Vec<Contender<'_>>,
) -> Measured {
    let operations: Vec<usize> = contenders
        .iter_mut()
        .map(|contender| {
            // Twice: the first time also warms up, and pays for what happens once.
            let first = calibrate(contender, slice);
            (contender.run)(first);
            calibrate(contender, slice)
        })
        .collect();
    let count = contenders.len();
    let mut times = vec![Vec::with_capacity(rounds); count];
    for round in 0..rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let took = (contenders[at].run)(operations[at]);
            times[at].push(took.as_nanos() as f64 / operations[at] as f64);
        }
    }
    let results = contenders.iter().zip(&times).map(|(contender, own)| {
        let ratios: Vec<f64> = times[0].iter().zip(own).map(|(first, own)| first / own).collect();
        ResultOf {
            name: contender.name,
            nanoseconds: quantile(own, 0.5),
            ratio: quantile(&ratios, 0.5),
            spread: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
        }
    });
    Measured { scenario: scenario.into(), results: results.collect() }
}

/// How many operations fill a slice.
fn calibrate(contender: &mut Contender<'_>, slice: Duration) -> usize {
    let mut operations = 16;
    loop {
        let took = (contender.run)(operations);
        if took * 4 >= slice {
            let share = slice.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((operations as f64 * share) as usize).max(1);
        }
        operations *= 2;
    }
}

pub fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5)
}

fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
