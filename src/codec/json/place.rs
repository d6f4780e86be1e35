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
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn place<T: DeserializeOwned>(document: Value) -> String {
        let text = serde_json::to_vec(&document).unwrap();
        let error = serde_json::from_slice::<T>(&text).err().expect("it is of another shape");
        at(&document, error.column())
    }

    #[test]
    fn what_a_reader_stumbles_over_is_named() {
        type Counts = BTreeMap<String, Vec<BTreeMap<String, u8>>>;
        type Pairs = BTreeMap<String, (u8, u8)>;

        assert_eq!(place::<Counts>(json!({"text": 7})), "/text");
        assert_eq!(place::<Counts>(json!({"~\n": [], "a/b": [{"ü": 1}, {"n": -1}]})), "/a~1b/1/n");
        assert_eq!(place::<Counts>(json!({"a~": [{"n": 1}, 300]})), "/a~0/1");
        // What is missing is missing in the whole.
        assert_eq!(place::<Pairs>(json!({"a": [1, 2], "b": [1]})), "/b");
        assert_eq!(place::<Pairs>(json!([7])), "");
    }
}
