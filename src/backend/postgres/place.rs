//! [`Place`], where in a database a store keeps its namespace.

use super::super::engine::ConnectError;
use crate::base::random;

/// The longest name of a table: the names made of it get a suffix, and PostgreSQL cuts them at 63 bytes.
const LONGEST_TABLE: usize = 48;

/// The longest name of a namespace, in bytes.
const LONGEST_NAMESPACE: usize = 128;

/// Where in a database a store keeps its namespace: a set of tables, and a name in their first column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) namespace: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { schema: "public".to_owned(), table: "ifmatch".to_owned(), namespace: "default".to_owned() }
    }
}

impl Place {
    /// Refuses names that are not plain identifiers, before any of them gets into a statement.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        for (what, name) in [("schema", &self.schema), ("table", &self.table)] {
            if !is_plain(name) {
                let problem = format!(
                    "a name has 1 to {LONGEST_TABLE} characters of `a-z`, `0-9` and `_`, and begins with none of `0-9`"
                );
                return Err(ConnectError::Usage { what, problem });
            }
        }
        let namespace = &self.namespace;
        if namespace.is_empty() || namespace.len() > LONGEST_NAMESPACE || namespace.contains('\0') {
            let problem = format!("a name has 1 to {LONGEST_NAMESPACE} bytes without U+0000");
            return Err(ConnectError::Usage { what: "namespace", problem });
        }
        Ok(())
    }

    /// A template of SQL with the names of this place, quoted.
    pub(super) fn fill(&self, template: &str) -> String {
        let Self { schema, table, .. } = self;
        let mut text = template.to_owned();
        let names = [
            ("{resources}", ""),
            ("{deleted}", "_deleted"),
            ("{log}", "_log"),
            ("{closed}", "_closed"),
            ("{places}", "_places"),
            ("{versions}", "_versions"),
            ("{commit_one}", "_commit_one_1"),
            ("{commit_many}", "_commit_many_1"),
            ("{close}", "_close_1"),
            ("{resolve}", "_resolve_1"),
            ("{trim}", "_trim_1"),
            ("{enter}", "_enter_1"),
        ];
        for (name, suffix) in names {
            text = text.replace(name, &format!("\"{schema}\".\"{table}{suffix}\""));
        }
        // An index is in the schema of its table.
        for (name, suffix) in [("{deleted_by_version}", "_deleted_by"), ("{log_by_write}", "_log_by")] {
            text = text.replace(name, &format!("\"{table}{suffix}\""));
        }
        // Below 2^38: as many versions again are left to issue.
        let start = (random() >> 26).max(1);
        text.replace("{schema}", schema)
            .replace("{key}", &format!("{schema}.{table}"))
            .replace("{start}", &start.to_string())
    }
}

fn is_plain(name: &str) -> bool {
    (1..=LONGEST_TABLE).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_plain_are_refused() {
        let long = "x".repeat(49);
        let hostile = [
            "",
            "1a",
            "A",
            "a-b",
            "a b",
            "a\"b",
            "a'b",
            "a;b",
            "a.b",
            "a\0b",
            "ä",
            "a\n",
            "{log}",
            "$1",
            "a--",
            "a/*",
            "\"; DROP TABLE a; --",
            &long,
        ];
        for name in hostile {
            for place in [
                Place { schema: name.to_owned(), ..Place::default() },
                Place { table: name.to_owned(), ..Place::default() },
            ] {
                assert!(matches!(place.check(), Err(ConnectError::Usage { .. })), "{name:?}");
            }
        }
        for name in ["", "a\0b", &"x".repeat(129)] {
            assert!(Place { namespace: name.to_owned(), ..Place::default() }.check().is_err(), "{name:?}");
        }
        assert!(Place::default().check().is_ok());
        assert!(Place { table: "_x9".repeat(16), ..Place::default() }.check().is_ok());
    }

    #[test]
    fn every_name_is_quoted_and_fits_into_63_bytes() {
        let place = Place { schema: "s".repeat(48), table: "t".repeat(48), ..Place::default() };

        let text = place.fill("{resources} {commit_many} {log_by_write} {key}");

        assert!(!text.contains('{'), "{text}");
        assert!(text.starts_with(&format!("\"{}\".\"{}\" ", place.schema, place.table)), "{text}");
        assert!(text.split(['"', '.', ' ']).all(|name| name.len() <= 63), "{text}");
    }
}
