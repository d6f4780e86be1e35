//! Settings in a file, which a person edits while the threads of a daemon write them: what does not overlap is merged, and
//! what does is asked.
//!
//! Run with `cargo run --features file,merge --example settings -- settings.ifmatch`, and type `help`.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use ifmatch::merge::Strategy::{Counter, Set};
use ifmatch::merge::{Merge, Overlap, Overlaps};
use ifmatch::{Collection, Draft, Error, File};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const HELP: &str = "theme NAME | volume N | host NAME   change the draft
colleague NAME                      somebody else sets the theme, and saves at once
show | save | quit";

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Settings {
    theme: String,
    volume: u8,
    hosts: Vec<String>,
    /// Written by the daemon.
    starts: u64,
    seconds: u64,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the night theme is quiet: a volume of {0} is too much")]
    TooLoud(u8),
    #[error(transparent)]
    Store(#[from] Error),
}

/// What must hold of the settings, whoever changed what.
fn sensible(settings: &Settings) -> Result<(), Refused> {
    match settings.theme == "night" && settings.volume > 5 {
        true => Err(Refused::TooLoud(settings.volume)),
        false => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let path = std::env::args().nth(1).ok_or("settings FILE")?;
    let settings = Collection::<Settings>::json(File::open(path)?);
    settings.modify_or_create("all", Settings::default, |all| all.starts += 1).wait()?;
    let daemon = settings.clone();
    thread::spawn(move || {
        while daemon.modify("all", |all| all.seconds += 1).wait().is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    });

    let merge = Merge::new().at("/hosts", Set).at("/starts", Counter).at("/seconds", Counter);
    let mut draft = settings.edit("all").wait()?;
    let mut lines = io::stdin().lines();
    while let Some(line) = lines.next().transpose()? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["theme", name] => draft.theme = name.to_owned(),
            ["volume", number] => match number.parse() {
                Ok(number) => draft.volume = number,
                Err(error) => println!("{number}: {error}"),
            },
            ["host", name] => draft.hosts.push(name.to_owned()),
            ["colleague", name] => drop(settings.modify("all", |all| all.theme = name.to_owned()).wait()?),
            ["show"] => println!("{:?}", *draft),
            ["save"] => match save(&mut draft, &merge, &mut lines) {
                Ok(()) => println!("saved: {:?}", *draft),
                Err(Refused::TooLoud(volume)) => println!("not saved: {}", Refused::TooLoud(volume)),
                Err(Refused::Store(error)) => return Err(error.into()),
            },
            ["quit"] => break,
            _ => println!("{HELP}"),
        }
    }
    Ok(())
}

fn save(
    draft: &mut Draft<Settings>,
    merge: &Merge,
    lines: &mut impl Iterator<Item = io::Result<String>>,
) -> Result<(), Refused> {
    loop {
        let conflict = match draft.commit_or_merge(merge, sensible).wait() {
            Ok(_) => return Ok(()),
            Err(Refused::Store(Error::Conflict(conflict))) if Overlaps::of(&conflict).is_some() => conflict,
            Err(refused) => return Err(refused),
        };
        println!("somebody else has changed this");
        draft.settle(conflict, |overlap| choose(overlap, lines))?;
    }
}

/// Asks until it is told; at the end of the input it is theirs.
fn choose(overlap: &Overlap, lines: &mut impl Iterator<Item = io::Result<String>>) -> Option<Value> {
    let shown = |side: &Option<Value>| side.as_ref().map_or("nothing".to_owned(), Value::to_string);
    loop {
        print!("{}: mine is {}, theirs {}? ", overlap.pointer, shown(&overlap.mine), shown(&overlap.theirs));
        let _ = io::stdout().flush();
        match lines.next().and_then(Result::ok).as_deref().map(str::trim) {
            Some("mine") => return overlap.mine.clone(),
            Some("theirs") | None => return overlap.theirs.clone(),
            Some(_) => println!("mine or theirs"),
        }
    }
}
