//! Requests that are to apply once, through a network that loses requests and answers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::http::{Keys, Preconditions};
use ifmatch::{Collection, Database, Error, Retry, Store};

use crate::faults::patiently;
use crate::proxy::{Fault, Proxy};

const CLIENTS: u64 = 4;

/// The requests of each client.
const REQUESTS: u64 = 60;

/// How long a client asks again for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was done, in its order.
type Done = Vec<u64>;

/// Status and entity tag.
type Told = (u16, Option<String>);

struct Service {
    keys: Keys,
    lists: Collection<Done>,
}

impl Service {
    /// One that gives up soon, so that its clients have to ask again.
    fn new(store: &Arc<dyn Store<[u8]>>) -> Self {
        let database = Database::new(Arc::clone(store)).with_retry(Retry::default().attempts(2));
        Self { keys: Keys::new(&database, "keys").unwrap(), lists: database.collection("lists").unwrap() }
    }

    /// Adds the number to the list of a client, and tells whether that was done before. It could not be sent twice without a key.
    fn add(&self, client: u64, number: u64) -> Result<(Told, bool), Error> {
        let mut request = Preconditions::from_headers([("Idempotency-Key", format!("{client}-{number}"))]);
        let key = request.take_key()?.map(|key| key.request("ann", "POST", "/", &number.to_le_bytes()));
        let list = client.to_string();
        let add = |lists: Collection<Done>| async move {
            lists.modify_if(&list, &request, |list| list.push(number)).await
        };
        let answer = self.keys.once::<_, Error, _>(key, &self.lists, add).wait()?;
        let tag = answer.headers().into_iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag);
        Ok(((answer.status(), tag), answer.is_replayed()))
    }

    /// Asks as a client does: again, until there is an answer. It gives that, whether it was done before, and how often it
    /// asked.
    fn add_at_last(&self, client: u64, number: u64) -> (Told, bool, usize) {
        let end = Instant::now() + PATIENCE;
        for asked in 1.. {
            match self.add(client, number) {
                Ok((told, replayed)) => return (told, replayed, asked),
                Err(Error::Failed(_) | Error::Conflict(_)) => {
                    assert!(Instant::now() < end, "no answer to {client}-{number}");
                }
                Err(other) => panic!("{other}: {other:?}"),
            }
        }
        unreachable!("it has no end")
    }
}

/// Each request is applied once, however often it is sent because its answer was lost, and told the same each time. The network is
/// that between the store and its server. At last the oldest are forgotten.
pub(crate) fn each_is_applied_once_and_told_the_same(
    store: Arc<dyn Store<[u8]>>,
    proxy: &Proxy,
    rarity: u64,
) {
    let service = Service::new(&store);
    for client in 0..CLIENTS {
        drop(patiently(|| service.lists.put(&client.to_string(), Done::new()).wait()));
    }

    proxy.disturb(7, rarity);
    let told: Vec<Vec<(Told, bool, usize)>> = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            let service = &service;
            scope.spawn(move || (0..REQUESTS).map(|number| service.add_at_last(client, number)).collect())
        });
        clients.collect::<Vec<_>>().into_iter().map(|client| client.join().unwrap()).collect()
    });
    proxy.calm_down();

    let again = told.iter().flatten().filter(|(.., asked)| *asked > 1).count();
    let lost = proxy.happened(Fault::DropAnswer) + proxy.happened(Fault::CutAnswer);
    println!("{lost} answers of the store lost, {again} requests sent again");
    assert!(lost > 0 && again > 0, "{lost}, {again}");
    for (client, told) in (0..).zip(&told) {
        let list = patiently(|| service.lists.fetch(&client.to_string()).wait());
        assert_eq!(*list.value, (0..REQUESTS).collect::<Done>(), "each once, in order");
        for (number, (told, ..)) in (0..).zip(told) {
            let (repeated, replayed, _) = service.add_at_last(client, number);
            assert!(replayed && repeated == *told, "{client}-{number}: {repeated:?} after {told:?}");
        }
    }

    // One more each, and then no more than those: the engine's versions tell which came last.
    (0..CLIENTS).for_each(|client| drop(service.add_at_last(client, REQUESTS)));
    let few = service.keys.clone().keeping(CLIENTS as usize);
    assert_eq!(patiently(|| few.sweep().wait()), (CLIENTS * REQUESTS) as usize);
    assert!((0..CLIENTS).all(|client| service.add_at_last(client, REQUESTS).1));
}
