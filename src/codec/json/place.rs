//! Where in a document a reader of its text gave up.

use serde_json::Value;

/// The JSON Pointer (RFC 6901) of the value that ends at or behind this byte of the document's text, which is compact: the
/// innermost one that it is in.
pub(super) fn at(document: &Value, byte: usize) -> String {
    let mut path = String::new();
    descend(document, byte, &mut path);
    path
}

/// `byte` is counted from where the value begins.
fn descend(value: &Value, byte: usize, path: &mut String) {
    // Behind the bracket.
    let mut begin = 1;
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let end = begin + length(element);
                if (begin + 1..=end).contains(&byte) {
                    path.push_str(&format!("/{index}"));
                    return descend(element, byte - begin, path);
                }
                begin = end + 1;
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                begin += length(&Value::from(name.as_str())) + 1;
                let end = begin + length(member);
                if (begin + 1..=end).contains(&byte) {
                    path.push('/');
                    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    return descend(member, byte - begin, path);
                }
                begin = end + 1;
            }
        }
        _ => {}
    }
}

fn length(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Note {
        text: String,
        #[serde(rename = "a/b")]
        counts: Vec<Count>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Count {
        n: u8,
    }

    #[test]
    fn what_a_reader_stumbles_over_is_named() {
        let cases = [
            (json!({"text": 7, "a/b": []}), "/text"),
            (json!({"text": "ü\n", "a/b": [{"n": 1}, {"n": -1}]}), "/a~1b/1/n"),
            (json!({"text": "", "a/b": [{"n": 1}, {}]}), "/a~1b/1"),
            (json!({"text": "", "a/b": [{"n": 1}, 300]}), "/a~1b/1"),
            (json!({"text": ""}), ""),
        ];
        for (document, place) in cases {
            let text = serde_json::to_vec(&document).unwrap();
            let error = serde_json::from_slice::<Note>(&text).unwrap_err();
            assert_eq!(at(&document, error.column()), place, "{document}: {error}");
        }
    }
}
