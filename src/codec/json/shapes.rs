//! The codec on shapes that serde can write and not read back, and on those that it can.
//!
//! Run it also with `--features serde_json/arbitrary_precision`, which any crate of a program can switch on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Json;
use crate::codec::codec::Codec;

/// A value is stored and reads back as it was put.
fn kept<T: Debug + PartialEq + Serialize + DeserializeOwned>(value: T) {
    let bytes = Json.encode(&value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    assert_eq!(Codec::<T>::decode(&Json, &bytes).unwrap(), value);
}

/// A value is refused, and this is why.
fn refused<T: Debug + Serialize + DeserializeOwned>(value: T) -> String {
    match Json.encode(&value) {
        Ok(bytes) => panic!("{value:?} was written as {}", String::from_utf8_lossy(&bytes)),
        Err(error) => error.to_string(),
    }
}

/// Whatever a value turns into, what is acknowledged is what is read.
fn kept_or_refused<T: Debug + PartialEq + Serialize + DeserializeOwned>(value: T) {
    if let Ok(bytes) = Json.encode(&value) {
        assert_eq!(Codec::<T>::decode(&Json, &bytes).unwrap(), value);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    name: String,
    #[serde(flatten)]
    rest: T,
}

fn flat<T>(rest: T) -> Flat<T> {
    Flat { name: "n".to_owned(), rest }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Inside<T> {
    One { value: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Beside<T> {
    One(T),
    Two { value: T },
    Unit,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    F(f64),
    I(i64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tagged {
    Unit,
    One(u8),
    Two(u8, Option<u8>),
    Named { value: Option<u8> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Numbers<T> {
    value: T,
}

#[test]
fn what_reads_back_is_kept() {
    kept(Numbers { value: u128::MAX });
    kept(Numbers { value: i128::MIN });
    kept(Numbers { value: (u64::MAX, i64::MIN, 'x', ()) });
    kept(Numbers { value: [Some(1.5f32), None, Some(0.1)] });
    kept(vec![Tagged::Unit, Tagged::One(1), Tagged::Two(1, None), Tagged::Named { value: None }]);
    kept(vec![Beside::One(Some(1)), Beside::Two { value: None }, Beside::Unit]);
    kept(Inside::One { value: Some("x".to_owned()) });
    kept(flat(BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)])));
    kept(flat(Some(Numbers { value: 1 })));
    kept(flat(Inside::One { value: -7 }));
    kept(BTreeMap::from([(7, "seven".to_owned())]));
    kept(serde_json::json!({"a": [1, -1, 1.5, null, "\u{1}\"\\"], "b": {"null": {}}}));
}

#[test]
fn maps_and_sets_are_kept_whatever_order_they_are_walked_in() {
    for size in [0, 1, 2, 100] {
        kept((0..size).map(|key| (key, Some(key.to_string()))).collect::<HashMap<u32, _>>());
        kept((0..size).map(|key| format!("\"{key},]}}")).collect::<HashSet<_>>());
        kept((0..size).map(|key| (key, HashSet::from([key, 1, 2, 3]))).collect::<HashMap<u32, _>>());
        kept(flat((0..size).map(|key| (key.to_string(), key)).collect::<HashMap<_, u32>>()));
    }
}

#[test]
fn what_does_not_decode_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Unwritten {
        #[serde(skip_serializing)]
        _secret: u8,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename(serialize = "other"))]
        value: u8,
    }

    let why = "the value would not read back from its JSON";
    assert_eq!(refused(flat(BTreeMap::from([(7, 1)]))), why);
    assert_eq!(refused(Unwritten { _secret: 1 }), why);
    assert_eq!(refused(Renamed { value: 1 }), why);
    assert_eq!(
        refused(flat(BTreeMap::from([("name".to_owned(), "m".to_owned())]))),
        format!("{why}, at `*`")
    );
}

#[test]
fn where_a_value_does_not_decode_is_told() {
    #[derive(Debug)]
    struct Odd;

    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("s3cr3t\",:")
        }
    }

    impl<'de> Deserialize<'de> for Odd {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u8::deserialize(deserializer).map(|_| Self)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename(serialize = "other"))]
        value: u8,
    }

    let why = |place| format!("the value would not read back from its JSON, at `{place}`");
    assert_eq!(refused(Numbers { value: (1, "a\\".to_owned(), Odd, 2) }), why("value[2]"));
    assert_eq!(refused(Numbers { value: BTreeMap::from([("s3cr3t".to_owned(), Odd)]) }), why("value.*"));
    assert_eq!(refused(vec![Numbers { value: [Renamed { value: 1 }] }]), why("[0].value[0]"));
}

#[test]
fn a_large_number_behind_a_tag_is_kept_or_refused() {
    kept_or_refused(flat(Numbers { value: 7u128 }));
    kept_or_refused(flat(Numbers { value: u128::MAX }));
    kept_or_refused(Inside::One { value: 7u128 });
    kept_or_refused(Inside::One { value: i128::MIN });
    kept_or_refused(Inside::One { value: 1.5 });
    kept_or_refused(flat(Numbers { value: 1.5 }));
    kept_or_refused(Beside::Two { value: 1.5 });
    kept_or_refused(Inside::One { value: 0.1f32 });
    kept_or_refused(Untagged::F(1.5));
    kept_or_refused(Untagged::F(1.0));
}

#[test]
fn what_reads_back_as_another_value_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        value: u8,
    }

    #[derive(Debug)]
    struct Trimmed(String);

    impl Serialize for Trimmed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Trimmed {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self(String::deserialize(deserializer)?.trim().to_owned()))
        }
    }

    let why = "the value would read back from its JSON as another one";
    let at = |place| format!("{why}, at `{place}`");
    assert_eq!(refused(Unread { value: 1 }), at("value"));
    assert_eq!(refused(Trimmed(" s3cr3t".to_owned())), why);
    let words = [(1, Trimmed("b ".to_owned())), (2, Trimmed("a".to_owned()))];
    assert_eq!(refused(HashMap::from(words)), at("*"));
    // With arbitrary precision it does not read back at all.
    let untagged = refused(Numbers { value: [Untagged::I(1)] });
    assert!(untagged.ends_with(", at `value[0]`"), "{untagged}");
}

#[test]
fn a_some_that_is_written_as_null_is_refused_and_its_place_told() {
    let why = |place| format!("a `Some` that would read back as `None`, at `{place}`");
    assert_eq!(refused(Numbers { value: Some(None::<u8>) }), why("value"));
    assert_eq!(refused(Numbers { value: Some(()) }), why("value"));
    assert_eq!(refused(vec![Some(Some(1)), Some(None)]), why("[1]"));
    assert_eq!(
        refused(BTreeMap::from([("s3cr3t", ())]).into_keys().map(|_| Some(())).collect::<Vec<_>>()),
        why("[0]")
    );
    assert_eq!(refused(Beside::Two { value: Some(()) }), why("of.value"));
    assert_eq!(refused(HashMap::from([("s3cr3t".to_owned(), Some(()))])), why("*"));
    assert_eq!(refused(Some(())), "a `Some` that would read back as `None`");
    kept(Numbers { value: Some(Some(1)) });
    kept(Numbers { value: None::<Option<u8>> });
}

#[test]
fn a_some_of_null_that_reads_back_is_kept() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Patch {
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
        value: Option<Option<u8>>,
    }

    fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u8>>, D::Error> {
        Deserialize::deserialize(deserializer).map(Some)
    }

    for value in [None, Some(None), Some(Some(1))] {
        kept(Patch { value });
    }
}

#[test]
fn a_float_that_is_no_number_is_refused_and_its_place_told() {
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let why = |place| format!("a float that is no number, at `{place}`");
        assert_eq!(refused(Numbers { value: float }), why("value"));
        assert_eq!(refused(Numbers { value: Some(float as f32) }), why("value"));
        assert_eq!(
            refused(Numbers { value: vec![Numbers { value: 1.0 }, Numbers { value: float }] }),
            why("value[1].value")
        );
        assert_eq!(refused(Inside::One { value: float }), why("value"));
        refused(Untagged::F(float));
        refused(flat(Numbers { value: float }));
    }
}

/// What the codec can't see: its docs say so.
#[test]
fn what_leaves_no_trace_is_not_seen() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Skipped {
        #[serde(skip)]
        _value: u8,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Empty {}

    assert_eq!(Json.encode(&Skipped { _value: 7 }).unwrap(), b"{}");
    assert_eq!(Json.encode(&flat(None::<Empty>)).unwrap(), Json.encode(&flat(Some(Empty {}))).unwrap());
}
