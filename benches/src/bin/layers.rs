//! What the layers of `web::tower` cost a request, around a service that answers at once: nanoseconds, as the median over
//! interleaved rounds, with and without. Then what an `Idempotency-Key` costs a `PUT` in memory.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::http::{Request, Response};
use ifmatch::Database;
use ifmatch::http::{Keys, Preconditions, Tally};
use ifmatch::web::tower::{Monitor, Problems, Require};
use sha2::{Digest, Sha256};
use tower_layer::Layer;
use tower_service::Service;

const ROUNDS: usize = 31;
const EACH: u32 = 20_000;

#[derive(Clone)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<Vec<u8>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Vec<u8>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Vec::new())))
    }
}

fn main() {
    let tally = Tally::new();
    let monitor = || {
        let tally = tally.clone();
        Monitor::new(move |exchange| tally.request(exchange))
    };
    let mut bare = Bare;
    let mut require = Require::new().layer(Bare);
    let mut problems = Problems::new().layer(Bare);
    let mut monitored = monitor().layer(Bare);
    let mut all = monitor().layer(Problems::new().layer(Require::new().layer(Bare)));
    let mut took = [(); 5].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        took[0].push(time(&mut bare));
        took[1].push(time(&mut require));
        took[2].push(time(&mut problems));
        took[3].push(time(&mut monitored));
        took[4].push(time(&mut all));
    }
    let medians = took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        took[took.len() / 2]
    });
    for (name, median) in ["bare", "require", "problems", "monitor", "all three"].iter().zip(medians) {
        println!("{name:10} {median:6.0} ns   {:+6.0} ns", median - medians[0]);
    }
    for length in [16, 1024, 16 * 1024] {
        keys(length);
    }
}

/// How many answers are kept.
const KEPT: u32 = 10_000;

const PUTS: u32 = EACH / 4;

/// What a program keeps that does by hand what `Keys` does.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    fingerprint: String,
    value: String,
}

/// A put with a key of its own beside one without, and beside what is done for it by hand: two hashes, the value as JSON, and one more
/// entry in the commit, with what is no longer kept deleted one by one.
fn keys(length: usize) {
    let office = Database::in_memory();
    let keys = Keys::new(&office, "keys").expect("a name").keeping(KEPT as usize);
    let texts = office.collection::<String>("texts").expect("a name");
    let records = office.collection::<Record>("records").expect("a name");
    let text = "x".repeat(length);
    let mut number = 0_u32;
    let mut put = |with_key: bool| {
        let begun = Instant::now();
        for _ in 0..PUTS {
            number += 1;
            let key = with_key.then(|| ("idempotency-key", format!("\"{number}\"")));
            let mut request = Preconditions::from_headers(key);
            let key = request.take_key().expect("a good key");
            let key = key.map(|key| key.request("ann", "PUT", "/texts/a", text.as_bytes()));
            let (request, value) = (&request, text.clone());
            let put =
                |texts: ifmatch::Collection<String>| async move { texts.put_if("a", request, value).await };
            let answer = keys.once::<_, ifmatch::Error, _>(key, &texts, put).wait();
            black_box(answer.expect("it is applied").status());
        }
        begun.elapsed().as_nanos() as f64 / f64::from(PUTS)
    };
    let mut written = 0_u32;
    let id = |number: u32| hash(format!("ann PUT /texts/a {number}").as_bytes());
    let mut by_hand = || {
        let begun = Instant::now();
        for _ in 0..PUTS {
            written += 1;
            let value = serde_json::to_string(&text).expect("a text");
            let record = Record { fingerprint: hash(text.as_bytes()), value };
            let mut transaction = office.transaction();
            if let Some(found) = texts.get("a").wait().expect("in memory") {
                transaction.check(&texts, "a", found.version).expect("the first of its id");
            }
            transaction.put(&texts, "a", text.clone());
            transaction.create(&records, &id(written), record).expect("the first of its id");
            black_box(transaction.commit().wait().expect("nobody else writes"));
            if let Some(old) = written.checked_sub(KEPT) {
                black_box(records.delete(&id(old), ifmatch::Expected::Any).wait().expect("in memory"));
            }
        }
        begun.elapsed().as_nanos() as f64 / f64::from(PUTS)
    };
    let mut took = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        took[0].push(put(false));
        took[1].push(by_hand());
        took[2].push(put(true));
    }
    let [without, by_hand, with] = took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        took[took.len() / 2]
    });
    let kept = records.get(&id(written)).wait().expect("in memory").expect("the newest");
    black_box((&kept.value.fingerprint, &kept.value.value));
    println!(
        "a put of {length} bytes {without:6.0} ns, by hand with a key {by_hand:6.0} ns, with a key {with:6.0} ns: {:.2} of by hand",
        with / by_hand
    );
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nanoseconds a request, one as a browser sends it.
fn time<S: Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible>>(service: &mut S) -> f64 {
    let begun = Instant::now();
    for _ in 0..EACH {
        let request = Request::builder()
            .method("PUT")
            .uri("/articles/a1")
            .header("host", "localhost")
            .header("user-agent", "a browser")
            .header("accept", "application/json")
            .header("accept-encoding", "gzip")
            .header("content-type", "application/json")
            .header("content-length", "100")
            .header("if-match", "\"7426034978023498762\"")
            .body(())
            .expect("a request");
        let answer = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it answers at once")
        };
        black_box(response);
    }
    begun.elapsed().as_nanos() as f64 / f64::from(EACH)
}
