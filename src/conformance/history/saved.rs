//! Histories in files: [`History::save`] and [`History::load`].

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::event::{Event, History, Numbering};

/// The first line of a saved history.
#[derive(Serialize, Deserialize)]
struct Head {
    seed: u64,
    numbering: Numbering,
}

/// A file could not be read as a history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("the history can't be read")]
    Read(#[from] io::Error),
    /// A line is not what [`History::save`] writes.
    #[error("line {line} of the history is not one of its lines")]
    Line {
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl History {
    /// Writes the history to a file: one line of JSON for the seed and one an event, the number of the event being
    /// that of its line less 2. Missing directories are made.
    ///
    /// ```
    /// use ifmatch::conformance::history::{History, Numbering};
    ///
    /// let history = History::new(Numbering::PerId, Vec::new()).with_seed(7);
    /// # let directory = std::env::temp_dir().join(format!("ifmatch-{}", std::process::id()));
    /// let file = directory.join("failing.history");
    /// history.save(&file)?;
    /// assert_eq!(History::load(&file)?, history);
    /// # std::fs::remove_dir_all(directory)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, file: impl AsRef<Path>) -> io::Result<()> {
        if let Some(directory) = file.as_ref().parent() {
            fs::create_dir_all(directory)?;
        }
        let mut lines = BufWriter::new(File::create(file)?);
        let head = Head { seed: self.seed, numbering: self.numbering };
        writeln!(lines, "{}", serde_json::to_string(&head)?)?;
        for event in &self.events {
            writeln!(lines, "{}", serde_json::to_string(event)?)?;
        }
        lines.flush()
    }

    /// Reads what [`save`](Self::save) wrote, to check it again.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, LoadError> {
        let mut lines = BufReader::new(File::open(file)?).lines();
        let at = |line: usize| move |source| LoadError::Line { line, source };
        let head: Head =
            serde_json::from_str(&lines.next().transpose()?.unwrap_or_default()).map_err(at(1))?;
        let mut events = Vec::new();
        for (index, line) in lines.enumerate() {
            let event: Event = serde_json::from_str(&line?).map_err(at(index + 2))?;
            events.push(event);
        }
        Ok(Self { seed: head.seed, numbering: head.numbering, events })
    }
}
