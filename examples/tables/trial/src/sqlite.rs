//! [`Database`], a file of SQLite.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::race::Logged;
use crate::server::Directory;

/// Writes every state of every row: its version is set by an `UPDATE`.
const LOG: &str = "
    CREATE TABLE log (id text, version integer, count integer);
    CREATE TRIGGER log AFTER UPDATE OF version ON items
    BEGIN
        INSERT INTO log VALUES (NEW.id, NEW.version, NEW.count);
    END;";

/// A file of its own, gone with it.
pub struct Database(Directory);

impl Database {
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self(Directory::new(None))
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("items.db")
    }

    /// Runs statements as somebody would who bypasses the service.
    pub fn run(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    }

    /// From now on every state of every row is logged.
    pub fn log(&self) {
        self.run(LOG);
    }

    pub fn logged(&self) -> Vec<Logged> {
        let connection = self.connect();
        let mut select = connection.prepare("SELECT id, version, count FROM log").unwrap();
        let logged = select.query_map([], |row| {
            Ok(Logged {
                id: row.get("id")?,
                version: row.get::<_, i64>("version")? as u64,
                count: row.get("count")?,
            })
        });
        logged.unwrap().map(Result::unwrap).collect()
    }

    fn connect(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}
