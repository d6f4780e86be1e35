//! A store as lines of JSON: export, and import into a new file. Versions are kept.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::ops::Bound;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::backup::{begin, engine_error, finish};
use super::handle::Handle;
use super::open::{beside, sync_directory, take_name};
use super::open_error::OpenError;
use super::recent::{self, Origin, View};
use crate::backend::record::Record;
use crate::base::random;
use crate::store::{Error, Failure, Outcome, Version, check_id};

/// The format of the lines.
const FORMAT: u32 = 1;

/// The longest line that is read.
const LONGEST: u64 = 256 << 20;

/// How many resources one transaction of an import writes.
const ROWS: usize = 4096;

/// Why lines can't be imported. No file was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line is not what an export writes.
    #[error("line {line}: {problem}")]
    Line {
        /// Which one, counted from 1.
        line: u64,
        /// What is wrong with it. Shows none of it.
        problem: &'static str,
    },
    /// The lines can't be read.
    #[error("the lines cannot be read")]
    Read(#[source] io::Error),
    /// The file can't be created.
    #[error(transparent)]
    File(#[from] OpenError),
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    ifmatch: u32,
    /// No version is above this one: the import goes on from there.
    newest: String,
}

/// Every other line: a resource, its value as text where it is text and else as hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Writes the last committed state, and tells how many resources it had.
pub(super) fn export(handle: &Handle, to: &mut dyn Write) -> Result<u64, Error> {
    // Writing twice would be wrong: the second try of a read that failed only fails again.
    let to = Cell::new(Some(to));
    let written = handle.read(|view| match to.take() {
        Some(to) => write_all(view, to),
        None => Err(redb::Error::PreviousIo),
    })?;
    written.map_err(|source| Failure::new(Outcome::NotApplied, source).into())
}

/// What fails in the file fails on the outside, what fails where the lines go on the inside.
fn write_all(view: &View, to: &mut dyn Write) -> Result<io::Result<u64>, redb::Error> {
    let mut written = write_line(to, &Head { ifmatch: FORMAT, newest: view.last.to_string() });
    let mut count = 0;
    for row in view.range(Bound::Unbounded, "", usize::MAX)? {
        if written.is_err() {
            break;
        }
        let (id, stored) = row?;
        let record = Record::decode(&id, stored.record().unwrap_or_default())
            .map_err(|damage| redb::Error::Corrupted(damage.to_string()))?;
        let (text, hex) = match str::from_utf8(record.value) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(record.value.iter().map(|byte| format!("{byte:02x}")).collect())),
        };
        written = write_line(to, &Line { id: id.to_string(), version: record.version, text, hex });
        count += 1;
    }
    Ok(written.and_then(|()| to.flush()).map(|()| count))
}

fn write_line(to: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Makes a new file at `path` of the lines that an export wrote, and tells how many resources it has.
pub(super) fn import(path: &Path, from: &mut dyn BufRead) -> Result<u64, ImportError> {
    let mut lines = Lines { from, number: 0 };
    let head: Head = lines.next()?.ok_or(ImportError::Line { line: 1, problem: "there is no first line" })?;
    if head.ifmatch != FORMAT {
        return Err(lines.wrong("not a format that this release reads"));
    }
    let newest: u64 = head.newest.parse().map_err(|_| lines.wrong("`newest` is not a number"))?;
    let fresh = beside(path);
    let made = fill(&fresh, newest, &mut lines);
    let named = made.and_then(|count| {
        take_name(&fresh, path)?;
        Ok(count)
    });
    let _ = fs::remove_file(&fresh);
    let count = named?;
    sync_directory(path)?;
    Ok(count)
}

fn fill(fresh: &Path, newest: u64, lines: &mut Lines<'_>) -> Result<u64, ImportError> {
    let file = begin(fresh, Origin { identity: random(), floor: newest })?;
    let mut count = 0;
    loop {
        let mut rows = Vec::new();
        while rows.len() < ROWS
            && let Some(line) = lines.next::<Line>()?
        {
            if check_id(&line.id).is_err() {
                return Err(lines.wrong("not an id that a resource can have"));
            }
            if line.version.to_bits().get() > newest {
                return Err(lines.wrong("a version above the newest"));
            }
            let value = match (&line.text, &line.hex) {
                (Some(text), None) => Some(text.as_bytes().to_vec()),
                (None, Some(digits)) => bytes_of(digits),
                _ => None,
            };
            let value = value.ok_or_else(|| lines.wrong("neither `text` nor `hex` is a value"))?;
            let record = Record { version: line.version, write: None, value: &value };
            let record = record.encode(&line.id);
            rows.push((line.id, record));
        }
        if rows.is_empty() {
            break;
        }
        if !recent::fill(&file, &rows).map_err(|error| engine_error(fresh, error))? {
            return Err(lines.wrong("this line or one shortly before names an id that is there already"));
        }
        count += rows.len() as u64;
    }
    finish(file, fresh)?;
    Ok(count)
}

/// Lines as they are read.
struct Lines<'r> {
    from: &'r mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    /// The next line that is not empty.
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, ImportError> {
        loop {
            let mut line = Vec::new();
            let read = Read::take(&mut *self.from, LONGEST).read_until(b'\n', &mut line);
            if read.map_err(ImportError::Read)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.len() as u64 == LONGEST {
                return Err(self.wrong("too long"));
            }
            if !line.trim_ascii().is_empty() {
                // The parser's own message may show a part of the line.
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|_| self.wrong("not what an export writes"));
            }
        }
    }

    fn wrong(&self, problem: &'static str) -> ImportError {
        ImportError::Line { line: self.number, problem }
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    });
    pairs.collect()
}
