//! The first screen of the README: a write that is too late changes nothing.
//!
//! Run with `cargo run --example quickstart`.

use ifmatch::{Collection, Error};

fn main() -> Result<(), Error> {
    let documents = Collection::<String>::in_memory();
    let first = documents.create("readme", "hello".to_string()).wait()?;

    documents.replace("readme", first.version, "hello, world".to_string()).wait()?; // fine
    let late = documents.replace("readme", first.version, "oops".to_string()).wait(); // too late

    let Err(Error::Conflict(conflict)) = late else { unreachable!() };
    println!("{conflict}"); // `readme` has changed: expected version …, found version …

    let current = conflict.current::<String>().expect("it was not deleted");
    println!("it now says: {}", current.value);
    Ok(())
}
