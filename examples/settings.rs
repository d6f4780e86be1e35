//! Settings in a file, which a person edits while the threads of a daemon write them: what does not overlap is merged, what
//! does is asked, and what was saved can be undone.
//!
//! Run with `cargo run --features file,merge --example settings -- settings.ifmatch`, and type `help`.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use ifmatch::history::History;
use ifmatch::merge::Strategy::{Counter, Set};
use ifmatch::merge::{Merge, Overlap, Overlaps, Unmerged};
use ifmatch::{Collection, Database, Draft, Error, File, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const HELP: &str = "theme NAME | volume N | host NAME   change the draft
colleague NAME                      somebody else sets the theme, and saves at once
show | save | undo | history | quit";

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
    #[error("somebody has changed that again")]
    Again(#[from] Unmerged),
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
    let database = Database::new(File::open(path)?);
    let history = History::<Settings>::new(&database, "settings.history")?;
    let settings = database.define::<Settings>("settings")?.recorded(&history).open()?;
    settings.modify_or_create("all", Settings::default, |all| all.starts += 1).wait()?;
    let daemon = settings.clone();
    thread::spawn(move || {
        while daemon.modify("all", |all| all.seconds += 1).wait().is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    });

    let merge = Merge::new().at("/hosts", Set).at("/starts", Counter).at("/seconds", Counter);
    let mut draft = settings.edit("all").wait()?;
    let mut saved = None;
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
                Ok(now) => {
                    println!("saved: {:?}", now.value);
                    saved = Some(now);
                }
                Err(Refused::Store(error)) => return Err(error.into()),
                Err(refused) => println!("not saved: {refused}"),
            },
            ["undo"] => match saved.take() {
                None => println!("nothing to undo"),
                Some(last) => {
                    match undo(&settings, &history, &merge, &last) {
                        Ok(now) => println!("undone: {:?}", now.value),
                        Err(refused) => println!("not undone: {refused}"),
                    }
                    draft = settings.edit("all").wait()?;
                }
            },
            ["history"] => {
                for past in history.of("all").wait()?.versions() {
                    println!("{:?} ago: {:?}", past.until().elapsed()?, past.value()?);
                }
            }
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
) -> Result<Versioned<Settings>, Refused> {
    loop {
        let conflict = match draft.commit_or_merge(merge, sensible).wait() {
            Ok(saved) => return Ok(saved),
            Err(Refused::Store(Error::Conflict(conflict))) if Overlaps::of(&conflict).is_some() => conflict,
            Err(refused) => return Err(refused),
        };
        println!("somebody else has changed this");
        draft.settle(conflict, |overlap| choose(overlap, lines))?;
    }
}

/// Takes back what one save has changed, and nothing that came after it.
fn undo(
    settings: &Collection<Settings>,
    history: &History<Settings>,
    merge: &Merge,
    saved: &Versioned<Settings>,
) -> Result<Versioned<Settings>, Refused> {
    let before = history.of("all").wait()?.before(saved.version)?.value()?;
    let undo = |now: &mut Settings| {
        *now = merge.typed(&*saved.value, &*before, now)?;
        sensible(now)
    };
    settings.try_modify("all", undo).wait()
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
