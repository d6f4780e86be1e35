//! What the path and the query of a request say.

use crate::http::Problem;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Collection,
    /// The resource of this id.
    Item(String),
}

impl Target {
    /// Reads a path below the one where the service is mounted: one segment is an id, however it is escaped.
    pub(super) fn read(path: &str) -> Result<Self, Problem> {
        match path.strip_prefix('/').unwrap_or(path) {
            "" => Ok(Self::Collection),
            below if below.contains('/') => Err(Problem::of_status(404)),
            segment => match String::from_utf8(unescaped(segment.as_bytes(), b'+')) {
                Ok(id) => Ok(Self::Item(id)),
                Err(_) => Err(Problem::of_status(400).with_detail("the path is no UTF-8")),
            },
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Collection => None,
            Self::Item(id) => Some(id),
        }
    }
}

/// The value of a parameter of a query, the first where there are several. One without `=` is empty.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, Problem> {
    for pair in query.unwrap_or_default().split('&') {
        let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
        if given == name {
            let value = String::from_utf8(unescaped(value.as_bytes(), b' '));
            let value = value.map_err(|_| Problem::of_status(400).with_detail("the query is no UTF-8"))?;
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The bytes that a text stands for. What only looks like an escape stays as it is. A plus is one in a path, and a blank in a
/// query.
fn unescaped(text: &[u8], plus: u8) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let (value, next) = match (byte, digit(at + 1), digit(at + 2)) {
            // Two digits of 16 fit.
            (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, at + 3),
            (b'+', ..) => (plus, at + 1),
            (other, ..) => (*other, at + 1),
        };
        bytes.push(value);
        at = next;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_collection_or_one_id() {
        let item = |id: &str| Target::Item(id.to_owned());
        for (path, target) in [
            ("", Target::Collection),
            ("/", Target::Collection),
            ("/a", item("a")),
            ("/a%2Fb", item("a/b")),
            ("/a%2fb+c", item("a/b+c")),
            ("/100%", item("100%")),
            ("/%zz%4", item("%zz%4")),
            ("/%C3%BC", item("ü")),
            ("/%2E%2E", item("..")),
        ] {
            assert_eq!(Target::read(path).unwrap(), target, "{path}");
        }
        assert_eq!(Target::read("/%FF").unwrap_err().status(), 400);
        for path in ["/a/", "//", "/a/b"] {
            assert_eq!(Target::read(path).unwrap_err().status(), 404, "{path}");
        }
    }

    #[test]
    fn a_parameter_is_found_and_unescaped() {
        let query = Some("x=1&after=a%26b+c&only&after=later");
        assert_eq!(parameter(query, "after").unwrap().as_deref(), Some("a&b c"));
        assert_eq!(parameter(query, "only").unwrap().as_deref(), Some(""));
        assert_eq!(parameter(query, "limit").unwrap(), None);
        assert_eq!(parameter(None, "limit").unwrap(), None);
        assert_eq!(parameter(Some("a=%ff"), "a").unwrap_err().status(), 400);
    }
}
