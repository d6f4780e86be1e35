//! [`Json`], the codec that most programs use.

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::codec::codec::Codec;
use crate::codec::json::same::Compared;
use crate::codec::json::written::NoNumber;

#[cfg(any(feature = "merge", feature = "patch"))]
mod document;
#[cfg(any(feature = "merge", feature = "patch"))]
mod kept;
mod limits;
#[cfg(any(feature = "merge", feature = "patch"))]
mod place;
mod same;
#[cfg(test)]
mod shapes;
mod trace;
mod written;

#[cfg(any(feature = "merge", feature = "patch"))]
pub(crate) use document::{Unkept, document, value};
#[cfg(feature = "merge")]
pub(crate) use kept::escaped;
#[cfg(feature = "resource")]
pub(crate) use limits::check as within_limits;

/// The codec that stores values as JSON, through serde. Feature `json`, on by default.
///
/// JSON that nests deeper than 64 arrays and objects, or has more than 100,000 values in it, is refused both ways,
/// before anything is built from it; so is anything but white space after the one value. Errors tell line and column,
/// never what is there.
///
/// # What is not encoded
///
/// A value that would not read back as it was: one whose JSON does not decode, or decodes to a value that is encoded
/// otherwise (the order of lists and members aside, which a set or a map changes each time); a float that is no number,
/// and a `Some` that reads back as `None`, both of which serde_json writes as `null`. To know, every value is decoded
/// and encoded once more as it is put. What leaves no trace in the JSON is not seen, and reads back as something else: a
/// field under `#[serde(skip)]` that is not at its default, a flattened `Option` of a struct with nothing in it.
///
/// # What is dropped
///
/// Members that the type doesn't have are skipped as a value is decoded, unless the type is under
/// `#[serde(deny_unknown_fields)]`: the next `modify`, draft or put of the value writes it without them. So a release that
/// lacks a member drops it from whatever it writes, while another one runs beside it that has the member, and after a
/// rollback to it. With a [`Schema`](crate::Schema) of a new number for the new member it is refused that.
///
/// ```
/// use ifmatch::Json;
/// use ifmatch::codec::Codec;
///
/// let bytes = Json.encode(&vec![1, 2, 3])?;
/// assert_eq!(bytes, b"[1,2,3]");
///
/// let error = Codec::<Vec<u32>>::decode(&Json, br#"[1, "s3cr3t"]"#).unwrap_err();
/// assert_eq!(error.to_string(), "not JSON of the expected shape, at line 1, column 12");
/// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        let bytes = serde_json::to_vec(value).map_err(|_| Fault::Unwritable)?;
        // What is stored must be readable again, and be what was put.
        let within = limits::check(&bytes)?;
        let hidden = if within.has_null { hidden(value)? } else { Vec::new() };
        let back: T = serde_json::from_slice(&bytes).map_err(|error| Fault::Unreturnable {
            place: trace::unreadable(value, &bytes, error.column()),
        })?;
        if !reads_as(&bytes, &back) {
            return Err(Fault::Changed { place: trace::changed(value, &back) }.into());
        }
        if !hidden.is_empty() && written::written(&back).ok().as_ref() != Some(&hidden) {
            return Err(Fault::Hidden { place: hidden[0].clone() }.into());
        }
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> {
        limits::check(bytes)?;
        serde_json::from_slice(bytes).map_err(|error| Fault::from(error).into())
    }
}

/// The places of what is written as `null` and is not `None`.
fn hidden<T: Serialize>(value: &T) -> Result<Vec<String>, Fault> {
    written::written(value).map_err(|NoNumber(place)| match place {
        Some(place) => Fault::NoNumber { place },
        None => Fault::Unwritable,
    })
}

/// Whether a value is encoded as these bytes, but for the order of its maps and sets.
fn reads_as<T: Serialize>(bytes: &[u8], value: &T) -> bool {
    let mut compared = Compared::with(bytes);
    if serde_json::to_writer(&mut compared, value).is_ok() {
        return compared.is_whole();
    }
    serde_json::to_vec(value).is_ok_and(|again| same::same(bytes, &again))
}

/// What is left of a serde_json error: its messages quote the data, as in ``unknown variant `s3cr3t` ``.
#[derive(Debug)]
enum Fault {
    Unwritable,
    Unreturnable { place: String },
    Changed { place: String },
    NoNumber { place: String },
    Hidden { place: String },
    Unreadable { what: &'static str, line: usize, column: usize },
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            Category::Data => "not JSON of the expected shape",
            Category::Eof => "the JSON ends too early",
            Category::Syntax | Category::Io => "not valid JSON",
        };
        Self::Unreadable { what, line: error.line(), column: error.column() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable => f.write_str("the value cannot be written as JSON"),
            Self::Unreturnable { place } => {
                write!(f, "the value would not read back from its JSON{}", At(place))
            }
            Self::Changed { place } => {
                write!(f, "the value would read back from its JSON as another one{}", At(place))
            }
            Self::NoNumber { place } => write!(f, "a float that is no number{}", At(place)),
            Self::Hidden { place } => write!(f, "a `Some` that would read back as `None`{}", At(place)),
            Self::Unreadable { what, line, column } => {
                write!(f, "{what}, at line {line}, column {column}")
            }
        }
    }
}

impl StdError for Fault {}

/// Where in a value something is; of the value itself nothing is said.
struct At<'p>(&'p str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", at `{}`", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize, Serializer};

    use super::Json;
    use crate::codec::codec::Codec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Colour {
        Red,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paint {
        colour: Colour,
        litres: u8,
    }

    fn fault<T: Debug + DeserializeOwned + Serialize>(json: &str) -> String {
        let error = Codec::<T>::decode(&Json, json.as_bytes()).unwrap_err();
        assert!(error.source().is_none());
        format!("{error} {error:?}")
    }

    #[test]
    fn a_value_survives_its_bytes() {
        let paint = Paint { colour: Colour::Red, litres: 2 };

        let bytes = Json.encode(&paint).unwrap();

        assert_eq!(bytes, br#"{"colour":"Red","litres":2}"#);
        assert_eq!(Codec::<Paint>::decode(&Json, &bytes).unwrap(), paint);
    }

    #[test]
    fn a_float_reads_back_as_it_was_written() {
        let bits = (1..10_000u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let floats: Vec<f64> = bits.map(f64::from_bits).filter(|float| float.is_finite()).collect();

        let bytes = Json.encode(&floats).unwrap();

        assert_eq!(Codec::<Vec<f64>>::decode(&Json, &bytes).unwrap(), floats);
    }

    #[test]
    fn a_number_that_json_does_not_have_is_not_encoded() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Json.encode(&vec![1.5, number]).is_err());
            assert!(Json.encode(&number).is_err());
        }
        assert_eq!(Json.encode(&[Some(1.5), None]).unwrap(), b"[1.5,null]");
    }

    #[test]
    fn no_error_shows_what_was_stored() {
        let faults = [
            fault::<Paint>(r#"{"colour": "s3cr3t", "litres": 1}"#),
            fault::<Paint>(r#"{"colour": "Red", "litres": "s3cr3t"}"#),
            fault::<Paint>(r#"{"colour": "Red", "litres": 1, "s3cr3t": 1}"#),
            fault::<Paint>(r#"["s3cr3t", 1]"#),
            fault::<String>(r#""s3cr3t" s3cr3t"#),
            fault::<String>(r#""s3cr3t"#),
            fault::<HashMap<u8, u8>>(r#"{"s3cr3t": 1}"#),
        ];

        for fault in faults {
            assert!(!fault.contains("s3cr3t"), "{fault}");
            assert!(fault.contains("at line 1, column "), "{fault}");
        }
    }

    #[test]
    fn the_sort_of_fault_and_its_place_are_told() {
        let told = |json| fault::<Paint>(json).split(" Unreadable").next().unwrap().to_owned();

        assert_eq!(told("{\n  \"litres\": \"x\"}"), "not JSON of the expected shape, at line 2, column 15");
        assert_eq!(told("{\"colour\""), "the JSON ends too early, at line 1, column 9");
        assert_eq!(told("{colour}"), "not valid JSON, at line 1, column 2");
    }

    #[test]
    fn anything_after_the_value_is_refused() {
        assert!(Codec::<u8>::decode(&Json, b" 1 \n").is_ok());
        assert!(Codec::<u8>::decode(&Json, b"1 1").is_err());
        assert!(Codec::<u8>::decode(&Json, b"1\0").is_err());
    }

    #[test]
    fn a_value_that_refuses_to_be_written_does_not_quote_itself() {
        #[derive(Debug, Deserialize)]
        struct Shy;

        impl Serialize for Shy {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("s3cr3t"))
            }
        }

        let error = Json.encode(&Shy).unwrap_err();

        assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        assert_eq!(error.to_string(), "the value cannot be written as JSON");
    }

    #[test]
    fn the_limits_hold_both_ways() {
        let many = vec![0u8; 100_000];
        let text = serde_json::to_vec(&many).unwrap();
        // Deeper than ours, and not as deep as the limit of serde_json itself.
        let deep = "[".repeat(65) + &"]".repeat(65);

        assert!(Json.encode(&many).unwrap_err().to_string().contains("100000"));
        assert!(Codec::<Vec<u8>>::decode(&Json, &text).unwrap_err().to_string().contains("100000"));
        assert!(Json.encode(&many[1..].to_vec()).is_ok());
        let nested = serde_json::from_str::<serde_json::Value>(&deep).unwrap();
        assert!(Json.encode(&nested).unwrap_err().to_string().contains("64"));
        assert!(Codec::<serde_json::Value>::decode(&Json, deep.as_bytes()).is_err());
        assert!(Codec::<serde_json::Value>::decode(&Json, &deep.as_bytes()[1..129]).is_ok());
    }
}
