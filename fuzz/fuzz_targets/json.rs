//! The JSON codec on any bytes: no panic, its limits hold, nothing within them is refused, and what it wrote it reads.

#![no_main]

use std::fmt;

use ifmatch::Json;
use ifmatch::codec::Codec;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let size = serde_json::from_slice::<Size>(bytes).ok();
    let fits = size.as_ref().is_some_and(|size| size.depth <= 64 && size.values <= 100_000);

    let decoded: Result<Value, _> = Json.decode(bytes);

    match &decoded {
        Ok(_) => assert!(fits),
        // What `Size` reads and `Value` does not: a number past what a float holds.
        Err(_) => assert!(!fits || serde_json::from_slice::<Value>(bytes).is_err()),
    }
    if let Ok(value) = decoded {
        let encoded = Json.encode(&value).expect("what was read fits when it is written");
        let again: Value = Json.decode(&encoded).expect("what was written can be read");
        assert_eq!(again, value);
    }
});

/// How big a JSON text is, counted by its parser.
struct Size {
    depth: usize,
    values: usize,
}

impl Size {
    const LEAF: Self = Self { depth: 0, values: 1 };

    fn holding(children: impl Iterator<Item = Self>) -> Self {
        let mut size = Self { depth: 1, values: 1 };
        for child in children {
            size.depth = size.depth.max(child.depth + 1);
            size.values += child.values;
        }
        size
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;

        impl<'de> Visitor<'de> for Counts {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_str<E>(self, _: &str) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_unit<E>(self) -> Result<Size, E> {
                Ok(Size::LEAF)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Size, A::Error> {
                let mut children = Vec::new();
                while let Some(child) = list.next_element()? {
                    children.push(child);
                }
                Ok(Size::holding(children.into_iter()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Size, A::Error> {
                let mut children = Vec::new();
                while let Some((_, child)) = members.next_entry::<String, Size>()? {
                    children.push(child);
                }
                Ok(Size::holding(children.into_iter()))
            }
        }

        deserializer.deserialize_any(Counts)
    }
}
