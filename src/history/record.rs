//! [`Record`], the past of one resource as it is kept.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, Json};
use crate::history::past::Ended;
use crate::store::Version;

/// What a resource was, as it is kept: the oldest first.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Record<T> {
    pub(super) kept: VecDeque<Arc<Kept<T>>>,
    /// How many versions there were before those.
    pub(super) expired: u64,
}

/// A version that is over.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Kept<T> {
    pub(super) version: Version,
    #[serde(rename = "text")]
    pub(super) value: Form<T>,
    pub(super) until: SystemTime,
    pub(super) ended: Ended,
    pub(super) by: Option<Arc<str>>,
    /// Whether the one before it was not what this one was written over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) after_gap: bool,
}

/// A value as it is kept.
pub(super) enum Form<T> {
    /// In memory: nothing is encoded there.
    Value {
        value: Arc<T>,
        /// The length of its JSON.
        length: usize,
    },
    /// As the collection's codec gives it. One that the type no longer reads stands in the way of nothing.
    Bytes(Arc<[u8]>),
}

/// Bytes that are no text.
#[derive(Serialize, Deserialize)]
struct Hex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex(Hex),
}

/// The codec of records where the store keeps bytes. Unlike [`Json`], it does not read back what it writes: a record is of no
/// type of the program's.
pub(super) struct AsJson;

impl<T> Record<T> {
    pub(super) fn empty() -> Self {
        Self { kept: VecDeque::new(), expired: 0 }
    }
}

impl<T> Kept<T> {
    /// About as many bytes as it takes in its record.
    pub(super) fn weight(&self) -> usize {
        let value = match &self.value {
            Form::Value { length, .. } => *length,
            Form::Bytes(bytes) => bytes.len(),
        };
        200 + value + self.by.as_ref().map_or(0, |by| by.len())
    }
}

impl<T: Send + Sync + 'static> Codec<Record<T>> for AsJson {
    fn encode(&self, record: &Record<T>) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        Ok(serde_json::to_vec(record)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record<T>, Box<dyn StdError + Send + Sync>> {
        Json.decode(bytes)
    }
}

impl<T> Serialize for Form<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Bytes(bytes) = self else { return Err(S::Error::custom("a value in memory has no bytes")) };
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                let hex = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
                Hex { hex }.serialize(serializer)
            }
        }
    }
}

impl<'de, T> Deserialize<'de> for Form<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = match Written::deserialize(deserializer)? {
            Written::Text(text) => return Ok(Self::Bytes(text.into_bytes().into())),
            Written::Hex(Hex { hex }) => hex,
        };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        };
        let bytes: Option<Arc<[u8]>> = hex.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self::Bytes).ok_or_else(|| D::Error::custom("not the digits of bytes"))
    }
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self { kept: self.kept.clone(), expired: self.expired }
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        let Self { version, until, ended, after_gap, .. } = *self;
        Self { version, value: self.value.clone(), until, ended, by: self.by.clone(), after_gap }
    }
}

impl<T> Clone for Form<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Value { value, length } => Self::Value { value: Arc::clone(value), length: *length },
            Self::Bytes(bytes) => Self::Bytes(Arc::clone(bytes)),
        }
    }
}

/// A version names its value.
impl<T> PartialEq for Record<T> {
    fn eq(&self, other: &Self) -> bool {
        let versions = |record: &Self| record.kept.iter().map(|kept| kept.version).collect::<Vec<_>>();
        self.expired == other.expired && versions(self) == versions(other)
    }
}

// Hand-written: the derived impl would print the user's values.
impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[&[u8]]) -> Record<u8> {
        let kept = values.iter().zip(1u64..).map(|(bytes, number)| {
            Arc::new(Kept {
                version: number.to_string().parse().unwrap(),
                value: Form::Bytes((*bytes).into()),
                until: SystemTime::now(),
                ended: Ended::Replaced,
                by: None,
                after_gap: number == 2,
            })
        });
        Record { kept: kept.collect(), expired: 7 }
    }

    fn bytes(record: &Record<u8>) -> Vec<Vec<u8>> {
        let of = |kept: &Arc<Kept<u8>>| match &kept.value {
            Form::Bytes(bytes) => bytes.to_vec(),
            Form::Value { .. } => panic!("it was decoded"),
        };
        record.kept.iter().map(of).collect()
    }

    #[test]
    fn bytes_of_any_codec_survive_their_record() {
        let all: Vec<u8> = (0..=255).collect();
        let written = record(&[b"{\"a\":1}", &all, b"", b"\xff", "\u{0}\n\"".as_bytes()]);

        let text = AsJson.encode(&written).unwrap();
        let back: Record<u8> = AsJson.decode(&text).unwrap();

        assert_eq!(bytes(&back), bytes(&written));
        assert!(back == written);
        let gaps: Vec<bool> = back.kept.iter().map(|kept| kept.after_gap).collect();
        assert_eq!(gaps, [false, true, false, false, false]);
    }

    #[test]
    fn a_record_of_before_there_were_gaps_and_other_codecs_is_read() {
        let text = br#"{"kept":[{"version":"7","text":"\"hello\"","until":
            {"secs_since_epoch":1,"nanos_since_epoch":2},"ended":"deleted","by":"ann"}],"expired":1}"#;

        let record: Record<u8> = AsJson.decode(text).unwrap();

        assert_eq!(bytes(&record), [b"\"hello\""]);
        assert!(!record.kept[0].after_gap);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for hex in ["f", "fg", "+f", "é0"] {
            let text = String::from_utf8(AsJson.encode(&record(&[b"\xff"])).unwrap()).unwrap();
            let spoiled = text.replace(r#""hex":"ff""#, &format!(r#""hex":"{hex}""#));
            assert_ne!(text, spoiled);
            assert!(Codec::<Record<u8>>::decode(&AsJson, spoiled.as_bytes()).is_err(), "{hex}");
        }
    }
}
